"""G2: shapes, losses, stages, resuming, and that it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from umbench_baselines.contracts import LabelMaps, Pictures, TrainingData, one_hot
from umbench_baselines.training import TrainingRun
from umbench_baselines.translation.config import TranslationConfig
from umbench_baselines.translation.losses import mask_discriminator_loss, mask_loss
from umbench_baselines.translation.networks import (
    ImageDiscriminator,
    MaskDiscriminator,
    Translator,
    hardened,
)
from umbench_baselines.translation.presets import preset
from umbench_baselines.translation.pseudo import COUNTS, LABELS, UNTRUSTED, read_pseudo
from umbench_baselines.translation.train import _Training, train_translation
from umbench_baselines.weights import resolve_perceptual

CONFIG = TranslationConfig(
    width=4, cap=16, blocks=2, disc_width=4, disc_down=3, steps_supervised=3, steps_semi=3,
    batch=4, lr=1e-3, perceptual="none", perceptual_sha256="",
)  # fmt: skip
LONG = replace(CONFIG, steps_supervised=100, steps_semi=100, lr=3e-3, ema_images=40.0)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    """Twelve discs on a background, six of them labelled; guidance has five grey values."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.linspace(-1, 1, 32)
    centres = torch.rand(12, 2, generator=generator) - 0.5
    distance = (grid[None, :, None] - centres[:, 0, None, None]) ** 2
    distance = distance + (grid[None, None, :] - centres[:, 1, None, None]) ** 2
    masks = (distance < 0.2).numpy().astype(np.uint8)
    images = (51 + 153 * masks).astype(np.uint8)
    known = np.arange(12) < 6
    return TrainingData(
        images=Pictures.of(images),
        guidance=Pictures.of(images // 50 * 50),
        masks=LabelMaps(masks, np.arange(12), (0, 1), known),
        labelled=torch.from_numpy(known),
        classes=2,
        t=50,
    )


def train(data: TrainingData, config: TranslationConfig, folder: Path) -> Translator:
    return train_translation(data, "guidance", config, TrainingRun(folder, seed=3))[0]


def training(data: TrainingData, config: TranslationConfig, folder: Path) -> _Training:
    return _Training(data, "guidance", config, TrainingRun(folder, seed=3))


def guidance(data: TrainingData) -> Tensor:
    assert data.guidance is not None
    return data.guidance.batch(slice(None))


def truth(data: TrainingData) -> Tensor:
    return torch.from_numpy(data.masks.values).long()


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("heads", ["both", "image", "segmentation"])
def test_heads_say_what_comes_out(data: TrainingData, tmp_path: Path, heads: str) -> None:
    model, facts = train_translation(
        data, "guidance", replace(CONFIG, heads=heads), TrainingRun(tmp_path, seed=3)
    )
    images, masks = model.translate(guidance(data)[:5], batch=2)
    assert (images is not None, masks is not None) == (
        heads != "segmentation",
        heads != "image",
    )
    if images is not None:
        assert images.shape == (5, 1, 32, 32)
        assert 0 <= images.min() <= images.max() <= 1
    if masks is not None:
        assert masks.shape == (5, 2, 32, 32)
        assert torch.allclose(masks.sum(1), torch.ones(5, 32, 32), atol=1e-5)
    assert facts["conditions"] == 1
    assert ("trusted_share" in facts) == (heads != "image")


def test_label_masks_enter_as_one_channel_per_class(data: TrainingData, tmp_path: Path) -> None:
    config = replace(CONFIG, heads="image")
    run = TrainingRun(tmp_path, seed=3)
    with pytest.raises(ValueError, match="some rows have none"):
        train_translation(data, "masks", config, run)
    labelled = data.take(data.labelled)
    with pytest.raises(ValueError, match='heads must be "image"'):
        train_translation(labelled, "masks", CONFIG, run)
    model, facts = train_translation(labelled, "masks", config, run)
    assert facts["conditions"] == 2
    assert model.translate(one_hot(truth(labelled)[:2], 2))[1] is None


def test_without_labels_or_guidance_nothing_is_trained(data: TrainingData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="raise `labelled`"):
        train(data.take(~data.labelled), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="there are none"):
        train(replace(data, guidance=None), CONFIG, tmp_path)


class Killed(Exception):
    """What ends a training from outside."""


def killed(data: TrainingData, config: TranslationConfig, folder: Path, stop: int) -> None:
    """A training whose last checkpoint is that of step `stop`."""

    def kill(done: int, total: int, text: str) -> None:
        # the checkpoint of a step is written after its progress report
        if done == stop + 1:
            raise Killed

    run = TrainingRun(folder, seed=3, checkpoint_seconds=0.0, progress=kill)
    with pytest.raises(Killed):
        train_translation(data, "guidance", config, run)


@pytest.mark.parametrize("stop", [2, 4])
@pytest.mark.parametrize("lost", [False, True])
def test_a_resumed_training_ends_with_the_same_bytes(
    data: TrainingData, tmp_path: Path, stop: int, lost: bool
) -> None:
    # no threshold, so that pseudo-segmentations matter
    config = replace(CONFIG, confidence=0.0)
    whole = train(data, config, tmp_path / "whole")
    killed(data, config, tmp_path / "cut", stop)
    if lost:
        (tmp_path / "cut" / LABELS).unlink(missing_ok=True)
        (tmp_path / "cut" / COUNTS).unlink(missing_ok=True)
    assert states_equal(train(data, config, tmp_path / "cut"), whole)
    files = [(tmp_path / name / LABELS).read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]


def test_pseudo_segmentations_are_made_once(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    teach = _Training._teach

    def counted(self: _Training, rows: Tensor) -> tuple[Tensor, Tensor]:
        asked.extend(rows.tolist())
        return teach(self, rows)

    monkeypatch.setattr(_Training, "_teach", counted)
    killed(data, CONFIG, tmp_path, 4)
    train(data, CONFIG, tmp_path)
    # twice each: to find the thresholds, and to apply them
    assert asked == 2 * list(range(6, 12))


def test_no_steps_leave_the_initial_network(data: TrainingData, tmp_path: Path) -> None:
    config = preset("quick", size=32, count=12, untrained=True)
    small = replace(config, width=4, cap=8, disc_width=4)
    torch.manual_seed(3)
    initial = Translator(1, 2, small)
    assert states_equal(train(data, small, tmp_path), initial)


def test_training_brings_images_and_masks_closer(data: TrainingData, tmp_path: Path) -> None:
    name, sha256 = resolve_perceptual("efficientnet-lite0")
    # both heads alike: in the presets masks weigh ten times as much, and images take longer
    long = replace(LONG, perceptual=name, perceptual_sha256=sha256, weight_mask=1.0)
    before = train(data, replace(CONFIG, steps_supervised=0, steps_semi=0), tmp_path / "0")
    after = train(data, long, tmp_path / "1")
    errors = []
    for model in (before, after):
        images, masks = model.translate(guidance(data))
        assert images is not None
        errors.append(float((images - data.images.batch(slice(None))).abs().mean()))
    assert errors[1] < 0.5 * errors[0]
    assert masks is not None
    # the unlabelled rows too
    assert (masks.argmax(1)[6:] == truth(data)[6:]).float().mean() > 0.9


def test_unlabelled_pixels_are_trusted_and_mostly_right(data: TrainingData, tmp_path: Path) -> None:
    config = replace(LONG, steps_semi=1, heads="segmentation")
    _, facts = train_translation(data, "guidance", config, TrainingRun(tmp_path / "a", seed=3))
    found = read_pseudo(tmp_path / "a", data)
    assert found is not None
    rows, labels = found
    assert rows.tolist() == list(range(6, 12))
    trusted = labels != UNTRUSTED
    assert trusted.mean() == pytest.approx(facts["trusted_share"]["all"])
    assert set(facts["trusted_share"]) == {"0", "1", "all"}
    # half of the pixels of each class, and those that are as sure as the last of them
    assert all(0.5 <= share < 0.7 for share in facts["trusted_share"].values())
    right = (labels == data.masks.values[rows])[trusted]
    everything = replace(config, confidence=0.0, trusted=1.0)
    train(data, everything, tmp_path / "b")
    found = read_pseudo(tmp_path / "b", data)
    assert found is not None
    # the wrong pixels are among those that are not trusted
    assert right.mean() > 0.95
    assert right.mean() > (found[1] == data.masks.values[rows]).mean() + 0.02


def test_a_higher_threshold_trusts_less(data: TrainingData, tmp_path: Path) -> None:
    shares = [
        train_translation(
            data,
            "guidance",
            replace(CONFIG, trusted=1.0, confidence=c),
            TrainingRun(tmp_path / str(c), seed=3),
        )[1]["trusted_share"]["all"]
        for c in (0.0, 0.3, 1.0)
    ]
    assert shares[0] == 1
    assert shares[2] == 0
    assert shares[0] >= shares[1] >= shares[2]


def test_every_share_of_a_batch_holds_both_kinds(data: TrainingData, tmp_path: Path) -> None:
    for batch, unlabelled in ((8, 0.5), (8, 0.25), (16, 0.5), (16, 0.25)):
        config = replace(CONFIG, batch=batch, unlabelled=unlabelled)
        labelled = data.labelled[training(data, config, tmp_path)._rows(4)]
        assert int((~labelled).sum()) == batch * unlabelled
        for part in labelled.split(4):  # what each of several processes gets
            assert part.any()
            assert not part.all()


@pytest.mark.parametrize(("judge", "same"), [("errors", True), ("published", False)])
def test_sharpness_alone_says_nothing_to_the_mask_discriminator(
    data: TrainingData, tmp_path: Path, judge: str, same: bool
) -> None:
    logits = torch.randn(4, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = []
    for sharpness in (1, 50):
        model = training(data, replace(CONFIG, judge=judge), tmp_path / str(sharpness))
        losses: dict[str, Tensor] = {}
        model._segmentation(torch.arange(4), sharpness * logits, losses)
        seen.append((losses["D mask"], model.mask_judge))
    assert bool(seen[0][0] == seen[1][0]) == same
    assert states_equal(seen[0][1], seen[1][1]) == same


def test_gradients_go_through_hardened_segmentations() -> None:
    logits = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    logits.requires_grad_()
    weights = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    (through,) = torch.autograd.grad((hardened(logits.softmax(1)) * weights).sum(), logits)
    (soft,) = torch.autograd.grad((logits.softmax(1) * weights).sum(), logits)
    assert torch.equal(through, soft)
    assert through.abs().max() > 0


def test_the_mask_discriminator_learns_where_a_segmentation_is_wrong() -> None:
    """Discs with a corner that is labelled as disc: confidence falls there, not elsewhere."""
    torch.manual_seed(0)
    judge = MaskDiscriminator(2, 8, down=3)
    optimizer = torch.optim.Adam(judge.parameters(), lr=3e-3)
    grid = torch.linspace(-1, 1, 32)
    disc = ((grid[:, None] ** 2 + grid[None] ** 2) < 0.4).long()[None]
    wrong = disc.clone()
    wrong[:, :8, :8] = 1
    for _ in range(60):
        loss = mask_discriminator_loss(
            judge(one_hot(disc, 2)), judge(one_hot(wrong, 2)), wrong == disc
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    confidence = judge(one_hot(wrong, 2)).sigmoid()[0, 0]
    assert confidence[:8, :8].mean() < 0.4
    assert confidence[16:, 16:].mean() > 0.8


def test_unlabelled_images_change_what_is_learnt(data: TrainingData, tmp_path: Path) -> None:
    config = replace(CONFIG, confidence=0.0)
    semi = train(data, config, tmp_path / "semi")
    supervised = train(data.take(data.labelled), config, tmp_path / "supervised")
    assert not states_equal(semi, supervised)
    assert read_pseudo(tmp_path / "supervised", data) is None


def test_the_adversarial_mask_loss_is_of_labelled_images_alone(
    data: TrainingData, tmp_path: Path
) -> None:
    model = training(data, CONFIG, tmp_path)
    logits = torch.randn(4, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    logits.requires_grad_()
    losses: dict[str, Tensor] = {}
    model.pseudo = np.zeros((6, 32, 32), dtype=np.uint8)
    model._segmentation(torch.tensor([0, 6, 1, 7]), logits, losses)
    (found,) = torch.autograd.grad(losses["G mask adversarial"], logits)
    assert found[[0, 2]].abs().amax((1, 2, 3)).min() > 0
    assert not found[[1, 3]].any()


def test_unpaired_training_compares_no_image_with_its_own(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sha256 = resolve_perceptual("efficientnet-lite0")
    shown: list[Tensor] = []
    judge = ImageDiscriminator.forward

    def seen(self: ImageDiscriminator, image: Tensor, condition: Tensor) -> list[Tensor]:
        shown.append(condition)
        return judge(self, image, condition)

    monkeypatch.setattr(ImageDiscriminator, "forward", seen)
    for paired in (True, False):
        config = replace(CONFIG, paired=paired, perceptual=name, perceptual_sha256=sha256)
        model = training(data, config, tmp_path / str(paired))
        shown.clear()
        losses = model.step(0)
        assert ("G perceptual" in losses) == paired
        assert len(shown) == 3
        assert all(condition.any() == paired for condition in shown)


@pytest.mark.parametrize(
    ("heads", "left_out"),
    [
        ("image", {"D mask", "G mask", "G mask adversarial", "trusted"}),
        ("segmentation", {"D image", "G image", "G perceptual"}),
    ],
)
def test_a_missing_head_takes_its_losses_along(
    data: TrainingData, tmp_path: Path, heads: str, left_out: set[str]
) -> None:
    name, sha256 = resolve_perceptual("efficientnet-lite0")
    config = replace(CONFIG, perceptual=name, perceptual_sha256=sha256)
    both = training(data, config, tmp_path / "both").step(0)
    one = training(data, replace(config, heads=heads), tmp_path / heads).step(0)
    assert set(both) - set(one) == left_out


def test_masks_of_unlabelled_rows_are_never_read(data: TrainingData, tmp_path: Path) -> None:
    values = data.masks.values.copy()
    values[6:] = 1 - values[6:]
    spoiled = replace(data, masks=replace(data.masks, values=values))
    config = replace(CONFIG, confidence=0.0)
    assert states_equal(train(data, config, tmp_path / "a"), train(spoiled, config, tmp_path / "b"))


def test_only_the_batch_is_read(data: TrainingData, tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Pictures):
        def batch(self, rows: Tensor | np.ndarray | slice) -> Tensor:  # type: ignore[override]
            asked.append(len(self.rows[rows]))
            return super().batch(rows)

    watched = replace(
        data,
        images=Watched(data.images.values, data.images.rows),
        guidance=Watched.of(data.guidance.values) if data.guidance else None,
    )
    train(watched, CONFIG, tmp_path)
    assert max(asked) <= CONFIG.batch


def test_only_trusted_pixels_enter_the_mask_loss() -> None:
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    truth = torch.zeros(2, 8, 8, dtype=torch.long)
    trusted = torch.zeros(2, 8, 8)
    trusted[:, :4] = 1
    wrong = truth.clone()
    wrong[:, 4:] = 2
    assert torch.equal(mask_loss(logits, truth, trusted), mask_loss(logits, wrong, trusted))
    perfect = functional.one_hot(truth, 3).permute(0, 3, 1, 2) * 50.0
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


@pytest.mark.parametrize("down", [3, 4, 5])
def test_confidence_is_per_pixel(down: int) -> None:
    judge = MaskDiscriminator(3, 4, down)
    assert judge.network(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64 >> down, 64 >> down)
    assert judge(torch.rand(2, 3, 64, 64)).shape == (2, 1, 64, 64)


def test_the_paper_preset_is_the_papers() -> None:
    config = preset("paper", size=1024, count=1500)
    assert (config.down, config.blocks, config.width, config.disc_down) == (4, 9, 64, 5)
    # 4 images on each of 4 GPUs; 200 epochs of 94 batches
    assert (config.batch, config.steps) == (16, 200 * 94)
    with pytest.raises(ValueError, match="no preset"):
        preset("papre", size=64, count=1)


def test_presets_take_what_a_suite_says() -> None:
    config = preset("quick", size=128, count=120, heads="segmentation", paired=False, scale=0.5)
    assert (config.heads, config.paired) == ("segmentation", False)
    assert config.steps == preset("quick", size=128, count=120).steps // 2
    assert preset("quick", size=128, count=40, heads="image").steps_semi == 0
    with pytest.raises(ValueError, match="heads must be one of"):
        preset("quick", size=128, count=120, heads="all")
