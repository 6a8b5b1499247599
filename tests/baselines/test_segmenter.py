"""The utility segmenter learns, resumes to the same bytes, and mixes as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from umbench_baselines.contracts import LabelMaps, Pictures, as_rows
from umbench_baselines.segmenter import (
    PRESETS,
    Pairs,
    SegmenterConfig,
    augment,
    build_segmenter,
    draw_mixture,
    preset,
    segment,
    train_segmenter,
)
from umbench_baselines.training import Devices, TrainingRun, share

CONFIG = SegmenterConfig((4, 8, 8, 8, 8, 4), steps=6, batch=4, lr=0.05, momentum=0.9)


def pairs(images: np.ndarray, masks: np.ndarray) -> Pairs:
    return Pairs(Pictures.of(images), LabelMaps.of(masks, 2))


@pytest.fixture(scope="module")
def discs() -> Pairs:
    grid = np.linspace(-1, 1, 32)
    y, x = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 16, 1, 1))
    masks = (grid[:, None] - y) ** 2 + (grid - x) ** 2 < 0.15
    return pairs(np.where(masks, 180, 75).astype(np.uint8), masks.astype(np.uint8))


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    both = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in both)


def test_it_learns_discs(discs: Pairs, tmp_path: Path) -> None:
    config = SegmenterConfig((4, 8, 8, 8, 8, 4), steps=80, batch=4, lr=0.01, momentum=None)
    model = train_segmenter(discs, 2, config, TrainingRun(tmp_path))
    found = torch.cat(list(segment(model, discs.images, batch=5)))
    assert found.dtype == torch.uint8 and found.shape == (16, 32, 32)
    truth = discs.masks.batch(slice(None))
    assert 2 * (found * truth).sum() / (found.sum() + truth.sum()) > 0.9
    drawn = discs.images.batch(slice(None))
    assert torch.equal(torch.cat(list(segment(model, drawn, batch=16))), found)


def test_segmenting_reads_one_batch_at_a_time(
    discs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = record_reads(monkeypatch)
    found = segment(build_segmenter(2, CONFIG), discs.images, batch=6)
    assert next(found).shape[0] == 6 and len(reads) == 1
    assert [len(part) for part in found] == [6, 4]


def test_a_resumed_training_ends_with_the_same_bytes(discs: Pairs, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Killed

    further = discs.images.take([3, 1, 2]), discs.masks.take([3, 1, 2])

    def train(run: TrainingRun) -> torch.nn.Module:
        return train_segmenter(discs, 2, CONFIG, run, synthetic=Pairs(*further))

    whole = train(TrainingRun(tmp_path / "a"))
    with pytest.raises(Killed):
        train(TrainingRun(tmp_path / "b", checkpoint_seconds=0.0, progress=kill))
    assert (tmp_path / "b/checkpoint.pt").exists()
    assert states_equal(train(TrainingRun(tmp_path / "b")), whole)


def test_synthetic_pairs_are_used_and_change_the_result(discs: Pairs, tmp_path: Path) -> None:
    dark = pairs(255 - discs.images.values, discs.masks.values)
    alone = train_segmenter(discs, 2, CONFIG, TrainingRun(tmp_path / "a"))
    mixed = train_segmenter(discs, 2, CONFIG, TrainingRun(tmp_path / "b"), synthetic=dark)
    assert not states_equal(alone, mixed)


@pytest.mark.parametrize("part", [0.0, 0.2, 1 / 3, 0.5])
def test_the_share_is_respected_at_every_step(part: float) -> None:
    drawn = [draw_mixture([5, 7], part, 4, step, seed=3) for step in range(30)]
    for done in range(1, 31):
        synthetic = int(torch.cat(drawn[:done])[:, 0].sum())
        assert abs(synthetic - part * 4 * done) < 1
    for number, count in enumerate((5, 7)):
        rows = torch.cat(drawn)
        mine = rows[rows[:, 0] == number, 1].tolist()
        epochs = [mine[start : start + count] for start in range(0, len(mine), count)]
        for epoch in epochs[: len(mine) // count]:
            assert sorted(epoch) == list(range(count))


def test_few_synthetic_pairs_get_their_part_and_many_no_more_than_the_share(
    discs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synthetic_reads(count: int, most: float) -> int:
        values = np.zeros((count, 32, 32), np.uint8)
        config = SegmenterConfig(CONFIG.features, steps=10, batch=4, share=most)
        run = TrainingRun(tmp_path / f"{count} {most}")
        train_segmenter(discs, 2, config, run, synthetic=pairs(values, values))
        return sum(len(rows) for array, rows in reads if array is values)

    reads = record_reads(monkeypatch)
    assert synthetic_reads(4, 0.5) == 8  # 4 of 20 pairs, so a fifth of 40 images
    assert synthetic_reads(160, 0.5) == 20
    assert synthetic_reads(160, 0.25) == 10


def record_reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, list[int]]]:
    """What is read of any pictures from now on: the array and the rows, read by read."""
    reads: list[tuple[np.ndarray, list[int]]] = []
    read = Pictures.batch

    def batch(self: Pictures, rows: Tensor) -> Tensor:
        reads.append((self.values, np.arange(len(self))[as_rows(rows)].tolist()))
        return read(self, rows)

    monkeypatch.setattr(Pictures, "batch", batch)
    return reads


def test_each_process_reads_its_share_alone_and_augments_it_in_its_own_way(
    discs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pairs(255 - discs.images.values, discs.masks.values)
    reads = record_reads(monkeypatch)

    def steps(rank: int, world: int) -> Iterator[set[tuple[bool, int]]]:
        def shard(self: Devices, batch: Tensor) -> Tensor:
            return batch[share(len(batch), world, rank)[0]]

        reads.clear()
        monkeypatch.setattr(Devices, "shard", shard)
        run = TrainingRun(tmp_path / f"{rank} of {world}")
        train_segmenter(discs, 2, CONFIG, run, synthetic=other)
        for real, synthetic in zip(reads[::2], reads[1::2], strict=True):
            assert real[0] is discs.images.values and synthetic[0] is other.images.values
            yield {(False, row) for row in real[1]} | {(True, row) for row in synthetic[1]}

    whole, first, second = (list(steps(*place)) for place in ((0, 1), (0, 2), (1, 2)))
    assert len(whole) == CONFIG.steps
    for together, a, b in zip(whole, first, second, strict=True):
        assert len(a) == len(b) == 2 and a | b == together


def test_the_loss_is_computed_in_full_precision(
    discs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = []
    update = Devices.update

    def note(self: Devices, loss: Tensor, *rest: object, clip: float) -> None:
        kinds.append(loss.dtype)
        update(self, loss, *rest, clip=clip)  # type: ignore[arg-type]

    monkeypatch.setattr(Devices, "update", note)
    full = train_segmenter(discs, 2, CONFIG, TrainingRun(tmp_path / "a"))
    mixed = train_segmenter(discs, 2, CONFIG, TrainingRun(tmp_path / "b", precision="bf16"))
    assert set(kinds) == {torch.float32}
    assert not states_equal(full, mixed)
    assert all(torch.isfinite(value).all() for value in mixed.state_dict().values())


def test_images_and_masks_move_together(discs: Pairs) -> None:
    torch.manual_seed(1)
    before = discs.batch(torch.arange(16))
    images, masks = augment(*before)
    assert (masks != before[1]).any()
    assert images[:, 0][masks == 1].mean() > images[:, 0][masks == 0].mean() + 0.3


def test_sizes_that_differ_are_said(discs: Pairs, tmp_path: Path) -> None:
    small = pairs(np.zeros((2, 48, 64), np.uint8), np.zeros((2, 48, 64), np.uint8))
    with pytest.raises(ValueError, match=r"\(48, 64\) px, real ones \(32, 32\)"):
        train_segmenter(discs, 2, CONFIG, TrainingRun(tmp_path), synthetic=small)
    with pytest.raises(ValueError, match="16 images cannot pair 2 masks"):
        Pairs(discs.images, small.masks)


@pytest.mark.parametrize("side", [32, 64, 80])
def test_every_preset_takes_every_side_that_a_suite_may_have(side: int) -> None:
    images = torch.rand(1, 1, side, side)
    for name in ("quick", "small"):
        assert build_segmenter(3, PRESETS[name])(images).shape == (1, 3, side, side)


def test_the_paper_preset_has_the_papers_batch_and_rate() -> None:
    config = preset("paper")
    assert (config.batch, config.lr, len(config.features), config.stride) == (16, 0.01, 6, 1)
