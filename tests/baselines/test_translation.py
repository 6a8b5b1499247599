"""G2: shapes, losses, stages, resuming, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from umbench_baselines.training import TrainingRun
from umbench_baselines.translation import (
    TranslationConfig,
    Translator,
    preset,
    train_translation,
)
from umbench_baselines.translation.losses import mask_loss
from umbench_baselines.translation.networks import ImageDiscriminator, MaskDiscriminator

CONFIG = TranslationConfig(
    width=4, cap=16, blocks=2, disc_width=4, steps_supervised=3, steps_semi=3, batch=4,
    lr=1e-3, perceptual="none",
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(-1, 1, 32)
    centres = torch.rand(12, 2, generator=generator) - 0.5
    distance = (grid[None, :, None] - centres[:, 0, None, None]) ** 2
    distance = distance + (grid[None, None, :] - centres[:, 1, None, None]) ** 2
    masks = (distance < 0.2).long()
    images = 0.2 + 0.6 * masks[:, None].float()
    guidance = (images * 5).floor() / 5
    labelled = torch.arange(12) < 6
    return guidance, images, masks, labelled


def train(
    data: tuple[Tensor, Tensor, Tensor, Tensor], config: TranslationConfig, folder: Path
) -> Translator:
    return train_translation(*data, 2, config, TrainingRun(folder, seed=3))


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("segmentation", [True, False])
def test_shapes_and_ranges(
    data: tuple[Tensor, Tensor, Tensor, Tensor], tmp_path: Path, segmentation: bool
) -> None:
    model = train(data, replace(CONFIG, segmentation=segmentation), tmp_path)
    images, masks = model.translate(data[0][:5], batch=2)
    assert images.shape == (5, 1, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1
    if segmentation:
        assert masks is not None
        assert masks.shape == (5, 2, 32, 32)
        assert torch.allclose(masks.sum(1), torch.ones(5, 32, 32), atol=1e-5)
    else:
        assert masks is None


@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_training_ends_with_the_same_bytes(
    data: tuple[Tensor, Tensor, Tensor, Tensor], tmp_path: Path, stop: int
) -> None:
    whole = train(data, CONFIG, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(done: int, total: int, text: str) -> None:
        # the checkpoint of a step is written after its progress report
        if done == stop + 1:
            raise Killed

    run = TrainingRun(tmp_path / "cut", seed=3, checkpoint_seconds=0.0, progress=kill)
    with pytest.raises(Killed):
        train_translation(*data, 2, CONFIG, run)
    assert states_equal(train(data, CONFIG, tmp_path / "cut"), whole)


def test_no_steps_leave_the_initial_network(
    data: tuple[Tensor, Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    config = preset("quick", size=32, count=12, segmentation=True, untrained=True)
    small = replace(config, width=4, cap=8, disc_width=4)
    torch.manual_seed(3)
    initial = Translator(1, 2, small)
    assert states_equal(train(data, small, tmp_path), initial)


def test_training_brings_images_and_masks_closer(
    data: tuple[Tensor, Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    long = replace(CONFIG, steps_supervised=80, steps_semi=120, lr=3e-3, ema_images=40.0,
                   perceptual="efficientnet-lite0")  # fmt: skip
    before = train(data, replace(CONFIG, steps_supervised=0, steps_semi=0), tmp_path / "0")
    after = train(data, long, tmp_path / "1")
    error = [(m.translate(data[0])[0] - data[1]).abs().mean() for m in (before, after)]
    assert error[1] < 0.5 * error[0]
    masks = after.translate(data[0])[1]
    assert masks is not None
    # the unlabelled rows too, which only pseudo-segmentations taught
    assert (masks.argmax(1)[6:] == data[2][6:]).float().mean() > 0.9


def test_masks_of_unlabelled_rows_are_never_read(
    data: tuple[Tensor, Tensor, Tensor, Tensor], tmp_path: Path
) -> None:
    guidance, images, masks, labelled = data
    spoiled = masks.clone()
    spoiled[~labelled] = 1 - spoiled[~labelled]
    a = train((guidance, images, masks, labelled), CONFIG, tmp_path / "a")
    b = train((guidance, images, spoiled, labelled), CONFIG, tmp_path / "b")
    assert states_equal(a, b)


def test_only_trusted_pixels_enter_the_mask_loss() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    truth = torch.zeros(2, 8, 8, dtype=torch.long)
    trusted = torch.zeros(2, 8, 8)
    trusted[:, :4] = 1
    wrong = truth.clone()
    wrong[:, 4:] = 2
    assert torch.equal(mask_loss(logits, truth, trusted), mask_loss(logits, wrong, trusted))
    perfect = torch.nn.functional.one_hot(truth, 3).permute(0, 3, 1, 2) * 50.0
    assert mask_loss(perfect, truth, trusted) < 1e-3


def test_mask_loss_without_restriction_agrees_with_monai() -> None:
    from monai.losses import DiceCELoss

    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    truth = torch.randint(3, (2, 8, 8), generator=torch.Generator().manual_seed(2))
    oracle = DiceCELoss(to_onehot_y=True, softmax=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    ours = mask_loss(logits, truth, torch.ones(2, 8, 8))
    assert torch.allclose(ours, oracle(logits, truth[:, None]), atol=1e-5)


def test_receptive_field_of_a_patch_is_70_pixels() -> None:
    judge = ImageDiscriminator(2, 2, 1).eval()
    image = torch.zeros(1, 1, 128, 128, requires_grad=True)
    score = judge(image, torch.zeros(1, 1, 128, 128))[0]
    row = score.shape[-1] // 2
    score[0, 0, row, row].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].abs().sum(0).nonzero().flatten()
    assert touched.max() - touched.min() + 1 == 70


def test_confidence_is_per_pixel() -> None:
    assert MaskDiscriminator(3, 4)(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_the_paper_preset_is_the_papers() -> None:
    config = preset("paper", size=1024, count=1500, segmentation=True)
    assert (config.down, config.blocks, config.width) == (4, 9, 64)
    with pytest.raises(ValueError, match="no preset"):
        preset("papre", size=64, count=1, segmentation=True)
