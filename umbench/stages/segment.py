"""Stage `segment`: the utility U-Net on real data, alone or with further pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import nn
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.segmenter import Pairs, preset, segment, train_segmenter, trained_segmenter
from umbench_baselines.training import Devices, TrainingRun, batches
from umbench_metrics.overlap import DiceTable, dice

from umbench.data.annotated_set import AnnotatedSet
from umbench.errors import InputError
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import (
    SplitTable,
    label_maps,
    load_set,
    load_split,
    pictures,
    save_table,
    save_trained,
)

if TYPE_CHECKING:
    from umbench.stages.values import Segment

BATCH = 8
"""Test images that are segmented and scored at once."""


def run(context: Context[Segment]) -> dict[str, Any]:
    """Writes the network and dice.csv: its scores on every test image."""
    processes = device_processes()
    launch(train, (context.silent(),), processes, context.progress)
    return {"processes": processes}


def train(context: Context[Segment], progress: Progress) -> None:
    """What each process does; the main one writes the network and its scores on test."""
    stage = context.stage
    data = load_set(context.folder(stage.real.data))
    table = load_split(context.folder(stage.real.split))
    classes = len(data.info.classes)
    run = TrainingRun(
        folder=context.scratch, budget=stage.budget, seed=stage.seed, precision=stage.precision,
        progress=progress,
    )  # fmt: skip
    model = train_segmenter(
        load_pairs(data, table.labelled_rows()),
        classes,
        preset(stage.budget.preset, stage.budget.scale),
        run,
        synthetic=further_pairs(context, data, table),
    )
    if not Devices().main:
        return
    save_trained(context.output, trained_segmenter(model, stage.budget.preset, classes))
    test = table.rows("test")
    scores = score(model, load_pairs(data, test), classes)
    found = dice_table(scores, data.info.classes, data.table.iloc[test])
    save_table(context.output / "dice.csv", found)


def load_pairs(
    data: AnnotatedSet, images: np.ndarray | None = None, masks: np.ndarray | None = None
) -> Pairs:
    """Rows of a set as pairs, all of them by default; `masks`: other rows to take masks from."""
    return Pairs(pictures(data, images), label_maps(data, images if masks is None else masks))


def further_pairs(context: Context[Segment], data: AnnotatedSet, table: SplitTable) -> Pairs | None:
    """What an arm adds to the real pairs: a set of samples, a control's pairs, or nothing."""
    stage = context.stage
    if stage.synthetic is not None:
        return load_pairs(load_set(context.folder(stage.synthetic)))
    if stage.pairs is None:
        return None
    return load_pairs(
        data, *control_rows(stage.pairs.control, table, stage.pairs.count, stage.seed)
    )


def control_rows(
    control: str, table: SplitTable, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the images and of the masks that a control of utility adds, `count` of each.

    copies: the labelled real pairs once more, which teach nothing new. held-out: pairs of the
    validation split, which a perfect generator would make; fewer where it has fewer. shuffled:
    the same with each image beside another one's mask. InputError where there is nothing to
    shuffle.
    """
    if control == "copies":
        rows = np.resize(table.spread(table.labelled_rows()), count)
        return rows, rows
    rows = table.spread(table.rows("validation"))[:count]
    if control == "held-out":
        return rows, rows
    if len(rows) < 2:
        raise InputError(
            f"controls: +shuffled needs two validation images, not {len(rows)}; raise "
            "splits.validation or samples"
        )
    # neighbours on a random circle: nobody keeps his own
    circle = np.random.default_rng([seed, 3]).permutation(len(rows))
    masks = np.empty_like(rows)
    masks[circle] = rows[np.roll(circle, 1)]
    return rows, masks


def score(model: nn.Module, pairs: Pairs, classes: int) -> DiceTable:
    """Dice of each image and class, batch by batch."""
    found = [
        dice(predicted.cpu().numpy(), pairs.masks.batch(rows).numpy(), classes)
        for rows, predicted in zip(
            batches(len(pairs), BATCH), segment(model, pairs.images, BATCH), strict=True
        )
    ]
    return DiceTable(
        np.concatenate([part.values for part in found]),
        np.concatenate([part.in_truth for part in found]),
        np.concatenate([part.in_prediction for part in found]),
    )


def dice_table(scores: DiceTable, classes: Mapping[int, str], table: pd.DataFrame) -> pd.DataFrame:
    """One row per test image and foreground class: image, subject, region, value, empty."""
    parts = []
    for index, number in enumerate(sorted(classes)):
        if index == 0:
            continue
        in_truth, in_prediction = scores.in_truth[:, index], scores.in_prediction[:, index]
        empty = np.select(
            [~in_truth & ~in_prediction, ~in_truth, ~in_prediction],
            ["both", "truth", "prediction"],
            "",
        )
        parts.append(
            pd.DataFrame(
                {
                    "image": table["file_name"].to_numpy(),
                    "subject": table["subject"].to_numpy(),
                    "region": classes[number],
                    "value": scores.values[:, index],
                    "empty": empty,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
