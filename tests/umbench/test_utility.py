"""Utility: what controls add, what that does to a segmenter, and how it is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from umbench_baselines.segmenter import SegmenterConfig, segment, train_segmenter
from umbench_baselines.training import TrainingRun
from umbench_metrics.overlap import dice

from umbench.data.annotated_set import AnnotatedSet, Encoding, SetInfo
from umbench.errors import InputError
from umbench.stages.artifacts import SplitTable
from umbench.stages.segment import control_rows, dice_table, load_pairs, score

SEEDS = (0, 1)


def planted(counts: dict[str, int], seed: int, size: int = 32) -> tuple[AnnotatedSet, SplitTable]:
    """Brighter or darker ellipses on a tilted ground: few examples do not show them all."""
    count, random = sum(counts.values()), np.random.default_rng(seed)
    y, x = np.linspace(-1, 1, size)[:, None], np.linspace(-1, 1, size)

    def each(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, (count, 1, 1))

    aspect = each(0.6, 1.6)
    off = (y - each(-0.5, 0.5)) ** 2 * aspect + (x - each(-0.5, 0.5)) ** 2 / aspect
    masks = off < each(0.2, 0.45) ** 2
    images = each(0.3, 0.7) + each(-0.2, 0.2) * y + each(-0.2, 0.2) * x
    split = np.repeat(list(counts), list(counts.values()))
    images = images + 0.2 * random.choice([-1, 1], (count, 1, 1)) * masks
    images += random.normal(0, 0.05, images.shape)
    names = [f"{number}.png" for number in range(count)]
    data = AnnotatedSet(
        SetInfo("planted", Encoding(8, (0, 1), "none"), {0: "background", 7: "lesion"}),
        (images.clip(0, 1) * 255).astype(np.uint8),
        masks.astype(np.uint8) * 7,
        pd.DataFrame({"file_name": names, "subject": names}),
    )
    return data, SplitTable(split, split == "train", np.array(names))


def arm(name: str, data: AnnotatedSet, table: SplitTable, seed: int, folder: Path) -> float:
    """Mean Dice on test of a segmenter that was trained with a control's pairs."""
    config = SegmenterConfig(
        (4, 8, 8, 8, 8, 4), steps=60, batch=8, lr=0.01, momentum=None, warm_up=10, share=0.75
    )
    further = None
    if name != "real":
        further = load_pairs(data, *control_rows(name, table, 40, seed))
    model = train_segmenter(
        load_pairs(data, table.labelled_rows()),
        2,
        config,
        TrainingRun(folder / f"{name} {seed}", seed=seed),
        synthetic=further,
    )
    found = score(model, load_pairs(data, table.rows("test")), 2)
    return float(found.values[:, 1].mean())


def test_copies_change_nothing_held_out_pairs_help_and_shuffled_masks_hurt(tmp_path: Path) -> None:
    gains: dict[str, list[float]] = {"copies": [], "held-out": [], "shuffled": []}
    for seed in SEEDS:
        data, table = planted({"train": 8, "validation": 40, "test": 40}, seed)
        real = arm("real", data, table, seed, tmp_path)
        for name, found in gains.items():
            found.append(arm(name, data, table, seed, tmp_path) - real)
    mean = {name: float(np.mean(found)) for name, found in gains.items()}
    assert abs(mean["copies"]) < 0.08
    assert mean["held-out"] > 0.05
    assert mean["shuffled"] < -0.2


def test_controls_take_the_rows_that_they_name() -> None:
    _, table = planted({"train": 3, "validation": 5, "test": 4}, 0)
    images, masks = control_rows("copies", table, 7, seed=0)
    assert images.tolist() == masks.tolist() == [0, 1, 2, 0, 1, 2, 0]
    images, masks = control_rows("held-out", table, 4, seed=0)
    assert images.tolist() == masks.tolist() == [3, 4, 5, 6]
    others = set()
    for seed in range(20):
        images, masks = control_rows("shuffled", table, 4, seed=seed)
        assert images.tolist() == [3, 4, 5, 6] == sorted(masks)
        assert (images != masks).all()
        others.add(tuple(masks))
    assert len(others) > 3
    with pytest.raises(InputError, match=r"\+shuffled needs two validation images, not 1"):
        control_rows("shuffled", table, 1, seed=0)


class Bright(torch.nn.Module):
    """Class 1 where a pixel is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.level.expand_as(images), images], 1)


def test_scores_batch_by_batch_are_those_of_all_at_once() -> None:
    data, table = planted({"train": 1, "validation": 1, "test": 19}, 0)
    rows, model = table.rows("test"), Bright()
    pairs = load_pairs(data, rows)
    predicted = torch.cat(list(segment(model, pairs.images))).numpy()
    assert data.masks is not None
    whole = dice(predicted, data.masks[rows] // 7, 2)
    found = score(model, pairs, 2)
    assert np.array_equal(found.values, whole.values) and 0 < found.values[:, 1].mean() < 1
    written = dice_table(found, data.info.classes, data.table.iloc[rows])
    assert written["value"].tolist() == whole.values[:, 1].tolist()
    assert written["image"].tolist() == [f"{row}.png" for row in rows]
    assert set(written["region"]) == {"lesion"}
    missed = ~whole.in_prediction[:, 1]
    assert (written["empty"] == "prediction").tolist() == missed.tolist()
