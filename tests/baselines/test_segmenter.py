"""The utility segmenter learns, resumes to the same bytes, and mixes as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from umbench_baselines.segmenter import SegmenterConfig, augment, preset, segment, train_segmenter
from umbench_baselines.training import TrainingRun

CONFIG = SegmenterConfig((4, 8, 8, 8, 8, 4), steps=6, batch=4, lr=0.05, momentum=0.9)


@pytest.fixture(scope="module")
def discs() -> tuple[Tensor, Tensor]:
    grid = torch.linspace(-1, 1, 32)
    centres = torch.rand(16, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    distance = (grid[None, :, None] - centres[:, 0, None, None]) ** 2
    distance = distance + (grid[None, None, :] - centres[:, 1, None, None]) ** 2
    masks = (distance < 0.15).long()
    return 0.3 + 0.4 * masks[:, None].float(), masks


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_it_learns_discs(discs: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    config = SegmenterConfig((4, 8, 8, 8, 8, 4), steps=80, batch=8, lr=0.05, momentum=0.9)
    model = train_segmenter(*discs, 2, config, TrainingRun(tmp_path))
    found = segment(model, discs[0], batch=5)
    overlap = 2 * (found * discs[1]).sum() / (found.sum() + discs[1].sum())
    assert overlap > 0.9


def test_a_resumed_training_ends_with_the_same_bytes(
    discs: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int, text: str) -> None:
        if done == 4:
            raise Killed

    whole = train_segmenter(*discs, 2, CONFIG, TrainingRun(tmp_path / "a"))
    run = TrainingRun(tmp_path / "b", checkpoint_seconds=0.0, progress=kill)
    with pytest.raises(Killed):
        train_segmenter(*discs, 2, CONFIG, run)
    assert (tmp_path / "b/checkpoint.pt").exists()
    again = train_segmenter(*discs, 2, CONFIG, TrainingRun(tmp_path / "b"))
    assert states_equal(again, whole)


def test_synthetic_pairs_are_used_and_change_the_result(
    discs: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    images, masks = discs
    alone = train_segmenter(images, masks, 2, CONFIG, TrainingRun(tmp_path / "a"))
    mixed = train_segmenter(
        images, masks, 2, CONFIG, TrainingRun(tmp_path / "b"), synthetic=(1 - images, masks)
    )
    assert not states_equal(alone, mixed)


def test_images_and_masks_move_together(discs: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(1)
    images, masks = augment(*discs)
    inside = images[:, 0][masks == 1].mean()
    outside = images[:, 0][masks == 0].mean()
    assert inside > outside + 0.3


def test_the_paper_preset_has_the_papers_batch_and_rate() -> None:
    config = preset("paper")
    assert (config.batch, config.lr, len(config.features)) == (16, 0.01, 6)
