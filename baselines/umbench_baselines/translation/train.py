"""Semi-supervised adversarial training of G2 (paper, section III.B.2); the presets."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.training import (
    Devices,
    MovingAverage,
    Stateful,
    TrainingRun,
    batches,
    draw_batch,
    run_loop,
)
from umbench_baselines.translation.losses import (
    discriminator_loss,
    generator_loss,
    mask_discriminator_loss,
    mask_loss,
)
from umbench_baselines.translation.networks import (
    ImageDiscriminator,
    MaskDiscriminator,
    TranslationConfig,
    Translator,
)
from umbench_baselines.translation.perceptual import Perceptual, choose

PAPER_EPOCHS = 200
Network = TypeVar("Network", bound=nn.Module)


def preset(
    name: str,
    *,
    size: int,
    count: int,
    segmentation: bool,
    untrained: bool = False,
    scale: float = 1.0,
) -> TranslationConfig:
    """Configuration for `count` images of side `size`; `scale` times the steps.

    All keep 4 down-samplings and 9 residual blocks. ValueError for an unknown name.
    """
    if name == "paper":
        steps = PAPER_EPOCHS * -(-count // 4)
        config = TranslationConfig(disc_scales=2 if size >= 512 else 1)
    elif name == "small":
        steps = 500
        config = TranslationConfig(
            width=24, cap=160, disc_width=24, batch=8, lr=7e-4, ema_images=1000.0
        )
    elif name == "quick":
        steps = 140
        config = TranslationConfig(
            width=16, cap=96, disc_width=16, batch=8, lr=1e-3, ema_images=300.0
        )
    else:
        raise ValueError(f"no preset called {name!r}; there are quick, small, paper")
    steps = 0 if untrained else max(2, round(steps * scale))
    supervised = steps // 3 if segmentation else steps
    return replace(
        config,
        segmentation=segmentation,
        steps_supervised=supervised,
        steps_semi=steps - supervised,
    )


def train_translation(
    conditions: Tensor,
    images: Tensor,
    masks: Tensor,
    labelled: Tensor,
    classes: int,
    config: TranslationConfig,
    run: TrainingRun,
) -> Translator:
    """Train G2; the averaged generator in evaluation mode, its batch statistics measured anew.

    conditions: (N, K, H, W) in [0, 1]. images: (N, 1, H, W) in [0, 1]. masks: (N, H, W) int64,
    read only where `labelled` (N,). Stage a uses labelled rows alone; stage b all rows.
    """
    if not labelled.any():
        raise ValueError("translation: no labelled image to train on; raise `labelled`")
    training = _Training(conditions, images, masks, labelled, classes, config, run)
    total = config.steps_supervised + config.steps_semi
    run_loop(
        training.parts, total, training.step, run, training.devices,
        preview=training.preview, label="translator",
    )  # fmt: skip
    model = training.average.module
    assert isinstance(model, Translator)
    model.perceptual_name = training.perceptual_name
    if total:
        recalibrate(model, conditions, config.batch)
    return model.eval()


@torch.no_grad()
def recalibrate(model: nn.Module, conditions: Tensor, batch: int) -> None:
    """Set batch-norm statistics to their mean over the conditions, at the final weights."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    device = next(model.parameters()).device
    for rows in batches(len(conditions), batch):
        if rows.stop - rows.start > 1:
            model(conditions[rows].to(device))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    model.eval()


class _Training:
    """The networks, their optimisers and one step."""

    def __init__(
        self,
        conditions: Tensor,
        images: Tensor,
        masks: Tensor,
        labelled: Tensor,
        classes: int,
        config: TranslationConfig,
        run: TrainingRun,
    ) -> None:
        # channels last: convolutions on a CPU take a third of the time
        self.conditions = conditions.contiguous(memory_format=torch.channels_last)
        self.images, self.masks = images * 2 - 1, masks
        self.config, self.run, self.classes = config, run, classes
        self.with_labels = torch.nonzero(labelled).flatten()
        self.without_labels = torch.nonzero(~labelled).flatten()
        self.devices = Devices(run.precision)
        torch.manual_seed(run.seed)
        self.generator = self._placed(Translator(conditions.shape[1], classes, config))
        self.judge = self._placed(
            ImageDiscriminator(1 + conditions.shape[1], config.disc_width, config.disc_scales)
        )
        self.average = MovingAverage(self.generator, config.ema_images)
        # discriminators' BatchNorm and G2's are in training mode throughout
        self.optimizer = self._adam(self.generator)
        self.judge_optimizer = self._adam(self.judge)
        self.parts: dict[str, Stateful] = {
            "generator": self.generator,
            "judge": self.judge,
            "average": self.average,
            "optimizer": self.optimizer,
            "judge optimizer": self.judge_optimizer,
        }
        if config.segmentation:
            self.mask_judge = self._placed(MaskDiscriminator(classes, config.disc_width))
            self.mask_optimizer = self._adam(self.mask_judge)
            self.teacher = copy.deepcopy(self.generator).eval().requires_grad_(False)
            self.teacher_judge = copy.deepcopy(self.mask_judge).requires_grad_(False)
            self.parts |= {
                "mask judge": self.mask_judge,
                "mask optimizer": self.mask_optimizer,
                "teacher": self.teacher,
                "teacher judge": self.teacher_judge,
            }
        wanted = config.paired and config.weight_perceptual > 0 and config.perceptual != "none"
        total = config.steps_supervised + config.steps_semi
        self.perceptual_name = choose(config.perceptual) if wanted else "none"
        self.perceptual = (
            self._placed(Perceptual(self.perceptual_name)).eval() if wanted and total else None
        )

    def _placed(self, module: Network) -> Network:
        placed = module.to(self.devices.device).train()
        return placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=self.config.lr, betas=(0.5, 0.999))

    def step(self, index: int) -> dict[str, Tensor]:
        """D^I and D^S first, then G2; one forward pass of G2 serves all three."""
        config, devices = self.config, self.devices
        self._set_rates(index)
        if config.segmentation and index == config.steps_supervised:
            self._save_teacher()
        rows = devices.shard(self._rows(index))
        condition = self.conditions[rows].to(devices.device)
        real = self.images[rows].to(devices.device)
        shown = condition if config.paired else torch.zeros_like(condition)
        with devices.autocast():
            fake, logits = self.generator(condition)
            on_real, on_fake = self.judge(real, shown), self.judge(fake.detach(), shown)
        losses = {"D image": discriminator_loss(config.gan, on_real, on_fake)}
        devices.update(losses["D image"], self.judge_optimizer)
        with devices.autocast():
            wanted = generator_loss(config.gan, self.judge(fake, shown))
        total = config.weight_image * wanted
        losses["G image"] = wanted
        if self.perceptual is not None:
            with devices.autocast():
                losses["G perceptual"] = self.perceptual(fake, real)
            total = total + config.weight_perceptual * losses["G perceptual"]
        if logits is not None:
            total = total + self._segmentation(index, rows, condition, logits.float(), losses)
        devices.update(total, self.optimizer)
        self.average.update(config.batch)
        return {name: value.detach() for name, value in losses.items()}

    def _rows(self, index: int) -> Tensor:
        """Labelled rows in stage a; half of them and half of the others in stage b."""
        config, seed = self.config, self.run.seed
        semi = index >= config.steps_supervised and len(self.without_labels) > 0
        size = config.batch // 2 if semi else config.batch
        rows = self.with_labels[draw_batch(len(self.with_labels), size, index, seed)]
        if not semi:
            return rows
        count = config.batch - size
        more = self.without_labels[draw_batch(len(self.without_labels), count, index, seed + 1)]
        # in turn, so that every device's share of the batch holds both
        return torch.cat([torch.stack([rows, more[:size]], 1).flatten(), more[size:]])

    def _segmentation(
        self,
        index: int,
        rows: Tensor,
        condition: Tensor,
        logits: Tensor,
        losses: dict[str, Tensor],
    ) -> Tensor:
        """D^S's step, then G2's part: L_S where pixels are trusted, and L_adv^S."""
        device = logits.device
        is_labelled = torch.isin(rows, self.with_labels).to(device)
        truth = self.masks[rows].to(device)
        trusted = is_labelled[:, None, None].expand_as(truth).clone()
        if not is_labelled.all():
            pseudo, confident = self._pseudo(condition[~is_labelled])
            truth[~is_labelled], trusted[~is_labelled] = pseudo, confident
        if is_labelled.any():
            one_hot = functional.one_hot(truth[is_labelled], self.classes).permute(0, 3, 1, 2)
            probabilities = logits[is_labelled].detach().softmax(1)
            loss = mask_discriminator_loss(
                self.mask_judge(one_hot.float()), self.mask_judge(probabilities)
            )
            losses["D mask"] = loss
            self.devices.update(loss, self.mask_optimizer)
        losses["G mask"] = mask_loss(logits, truth, trusted)
        believed = self.mask_judge(logits.softmax(1)).float()
        losses["G mask adversarial"] = functional.softplus(-believed).mean()
        losses["trusted"] = trusted.float().mean()
        weights = self.config.weight_mask, self.config.weight_mask_adversarial
        return weights[0] * losses["G mask"] + weights[1] * losses["G mask adversarial"]

    @torch.no_grad()
    def _pseudo(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Segmentations by the saved G2, and where the saved D^S is confident in them."""
        _, logits = self.teacher(condition)
        probabilities = logits.float().softmax(1)
        confidence = torch.sigmoid(self.teacher_judge(probabilities))[:, 0]
        return probabilities.argmax(1), confidence > self.config.confidence

    def _save_teacher(self) -> None:
        """Keep G2 and D^S as they are after the labelled stage."""
        self.teacher.load_state_dict(self.average.module.state_dict())
        recalibrate(self.teacher, self.conditions[self.with_labels], self.config.batch)
        self.teacher_judge.load_state_dict(self.mask_judge.state_dict())

    def _set_rates(self, index: int) -> None:
        """Constant, then linear to zero over the second half."""
        total = self.config.steps_supervised + self.config.steps_semi
        rate = self.config.lr * min(1.0, 2 * (1 - index / total))
        optimizers = [self.optimizer, self.judge_optimizer]
        if self.config.segmentation:
            optimizers.append(self.mask_optimizer)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def preview(self) -> Tensor:
        """Conditions above what the averaged generator makes of them, (1, H, W) in [0, 1]."""
        chosen = self.conditions[:4]
        model = self.average.module
        assert isinstance(model, Translator)
        images, _ = model.translate(chosen)
        return torch.cat([chosen.mean(1), images[:, 0]], 1).transpose(0, 1).flatten(1)[None]
