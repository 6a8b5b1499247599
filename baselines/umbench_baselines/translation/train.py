"""Semi-supervised adversarial training of G2 (paper, section III.B.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.contracts import TrainingData, one_hot
from umbench_baselines.training import (
    Devices,
    MovingAverage,
    Stateful,
    TrainingRun,
    batches,
    draw_batch,
    run_loop,
)
from umbench_baselines.translation.config import TranslationConfig
from umbench_baselines.translation.losses import (
    discriminator_loss,
    generator_loss,
    mask_discriminator_loss,
    mask_loss,
)
from umbench_baselines.translation.networks import (
    ImageDiscriminator,
    MaskDiscriminator,
    Translator,
    hardened,
    likeliest,
)
from umbench_baselines.translation.perceptual import Perceptual
from umbench_baselines.translation.pseudo import UNTRUSTED, make_pseudo, read_pseudo, trusted_share

Network = TypeVar("Network", bound=nn.Module)
Source = Literal["masks", "guidance"]
Conditions = Callable[[Tensor | slice], Tensor]
"""Rows of the data -> conditions (n, K, H, W) float32 in [0, 1], on the CPU."""


def train_translation(
    data: TrainingData, source: Source, config: TranslationConfig, run: TrainingRun
) -> tuple[Translator, dict[str, Any]]:
    """Train G2 on all rows of `data`, conditioned on label masks or on unsupervised masks.

    Returns the averaged generator in evaluation mode, its batch statistics measured anew, and
    facts: the config, the number of condition channels, the perceptual network, and, where there
    are unlabelled rows to segment, `trusted_share`. Stage a uses labelled rows alone; stage b
    all rows. ValueError where the data do not allow it.
    """
    _check(data, source, config)
    training = _Training(data, source, config, run)
    run_loop(
        training.parts, config.steps, training.step, run, training.devices,
        preview=training.preview, label="translator",
    )  # fmt: skip
    model = training.average.module
    assert isinstance(model, Translator)
    if config.steps:
        recalibrate(model, training.conditions, torch.arange(len(data.images)), config.batch)
    facts: dict[str, Any] = {
        "config": asdict(config),
        "conditions": training.channels,
        "perceptual": config.perceptual if config.compares_features else "none",
    }
    if training.teaches:
        facts["trusted_share"] = trusted_share(run.folder, data)
    return model.eval(), facts


def _check(data: TrainingData, source: Source, config: TranslationConfig) -> None:
    if not data.labelled.any():
        raise ValueError("translation: no labelled image to train on; raise `labelled`")
    if source == "masks" and not data.labelled.all():
        raise ValueError("translation: label masks are the condition, but some rows have none")
    if source == "masks" and config.heads != "image":
        raise ValueError(
            f'translation: a segmentation of label masks says nothing; heads must be "image", '
            f"not {config.heads!r}"
        )
    if source == "guidance" and data.guidance is None:
        raise ValueError("translation: unsupervised masks are the condition, but there are none")


def conditions_of(data: TrainingData, source: Source) -> Conditions:
    """What G2 is conditioned on: label masks one-hot, or unsupervised masks as grey / 255."""

    def masks(rows: Tensor | slice) -> Tensor:
        return one_hot(data.masks.batch(rows), data.classes)

    def guidance(rows: Tensor | slice) -> Tensor:
        assert data.guidance is not None
        return data.guidance.batch(rows)

    return masks if source == "masks" else guidance


@torch.no_grad()
def recalibrate(model: nn.Module, conditions: Conditions, rows: Tensor, batch: int) -> None:
    """Set batch-norm statistics to their mean over the rows, at the final weights."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    device = next(model.parameters()).device
    for chosen in batches(len(rows), batch):
        if chosen.stop - chosen.start > 1:
            model(conditions(rows[chosen]).to(device))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    model.eval()


class _Training:
    """The networks, their optimisers and one step."""

    def __init__(
        self, data: TrainingData, source: Source, config: TranslationConfig, run: TrainingRun
    ) -> None:
        self.data, self.config, self.run = data, config, run
        self.conditions = conditions_of(data, source)
        self.channels = data.classes if source == "masks" else 1
        self.with_labels = torch.nonzero(data.labelled).flatten()
        self.without_labels = torch.nonzero(~data.labelled).flatten()
        self.devices = Devices(run.precision)
        self.pseudo: np.ndarray | None = None
        torch.manual_seed(run.seed)
        self.generator = self._placed(Translator(self.channels, data.classes, config))
        self.average = MovingAverage(self.generator, config.ema_images)
        # discriminators' BatchNorm and G2's are in training mode throughout
        self.optimizers = {"optimizer": self._adam(self.generator)}
        self.parts: dict[str, Stateful] = {"generator": self.generator, "average": self.average}
        if config.heads != "segmentation":
            self.judge = self._placed(
                ImageDiscriminator(1 + self.channels, config.disc_width, config.disc_scales)
            )
            self.optimizers["judge optimizer"] = self._adam(self.judge)
            self.parts["judge"] = self.judge
        if config.heads != "image":
            self.mask_judge = self._placed(
                MaskDiscriminator(data.classes, config.disc_width, config.disc_down)
            )
            self.optimizers["mask optimizer"] = self._adam(self.mask_judge)
            self.teacher = copy.deepcopy(self.generator).eval().requires_grad_(False)
            self.teacher_judge = copy.deepcopy(self.mask_judge).requires_grad_(False)
            self.parts |= {
                "mask judge": self.mask_judge,
                "teacher": self.teacher,
                "teacher judge": self.teacher_judge,
            }
        self.parts |= self.optimizers
        self.perceptual = (
            self._placed(Perceptual(config.perceptual, config.perceptual_sha256)).eval()
            if config.compares_features and config.steps
            else None
        )

    @property
    def teaches(self) -> bool:
        """Whether there are pseudo-segmentations to learn from."""
        config = self.config
        return config.heads != "image" and config.steps_semi > 0 and len(self.without_labels) > 0

    def _placed(self, module: Network) -> Network:
        placed = module.to(self.devices.device).train()
        # channels last: convolutions on a CPU take a third of the time
        return placed.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _to_device(self, values: Tensor) -> Tensor:
        return values.to(self.devices.device, memory_format=torch.channels_last)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=self.config.lr, betas=(0.5, 0.999))

    def step(self, index: int) -> dict[str, Tensor]:
        """D^I and D^S first, then G2; one forward pass of G2 serves all three."""
        devices = self.devices
        self._set_rates(index)
        if self.teaches and index >= self.config.steps_supervised:
            self._ask_teacher(index)
        rows = devices.shard(self._rows(index))
        condition = self._to_device(self.conditions(rows))
        with devices.autocast():
            fake, logits = self.generator(condition)
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), device=devices.device)
        if fake is not None:
            total = total + self._image(rows, condition, fake, losses)
        if logits is not None:
            total = total + self._segmentation(rows, logits.float(), losses)
        devices.update(total, self.optimizers["optimizer"])
        self.average.update(self.config.batch)
        return {name: value.detach() for name, value in losses.items()}

    def _rows(self, index: int) -> Tensor:
        """Labelled rows in stage a; some of the others among them in stage b."""
        config, seed = self.config, self.run.seed
        semi = index >= config.steps_supervised and len(self.without_labels) > 0
        others = round(config.batch * config.unlabelled) if semi else 0
        size = config.batch - others
        rows = self.with_labels[draw_batch(len(self.with_labels), size, index, seed)]
        if not others:
            return rows
        more = self.without_labels[draw_batch(len(self.without_labels), others, index, seed + 1)]
        # in turn, so that every device's share of the batch holds both
        places = torch.cat([_spread(size), _spread(others)]).argsort(stable=True)
        return torch.cat([rows, more])[places]

    def _image(
        self, rows: Tensor, condition: Tensor, fake: Tensor, losses: dict[str, Tensor]
    ) -> Tensor:
        """D^I's step, then G2's part: L_adv^I and L_vgg."""
        config, devices = self.config, self.devices
        real = self._to_device(self.data.images.batch(rows) * 2 - 1)
        shown = condition if config.paired else torch.zeros_like(condition)
        with devices.autocast():
            on_real, on_fake = self.judge(real, shown), self.judge(fake.detach(), shown)
        losses["D image"] = discriminator_loss(config.gan, on_real, on_fake)
        devices.update(losses["D image"], self.optimizers["judge optimizer"])
        with devices.autocast():
            losses["G image"] = generator_loss(config.gan, self.judge(fake, shown))
        total = config.weight_image * losses["G image"]
        if self.perceptual is not None:
            with devices.autocast():
                losses["G perceptual"] = self.perceptual(fake, real)
            total = total + config.weight_perceptual * losses["G perceptual"]
        return total

    def _segmentation(self, rows: Tensor, logits: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """D^S's step, then G2's part: L_S where pixels are trusted; L_adv^S on labelled images."""
        config = self.config
        truth, trusted, labelled = (t.to(logits.device) for t in self._targets(rows))
        sure = logits[labelled].softmax(1)
        shown = self._shown(sure)
        right = likeliest(sure) == truth[labelled] if config.judge == "errors" else None
        losses["D mask"] = mask_discriminator_loss(
            self.mask_judge(one_hot(truth[labelled], self.data.classes)),
            self.mask_judge(shown.detach()),
            right,
        )
        self.devices.update(losses["D mask"], self.optimizers["mask optimizer"])
        losses["G mask"] = mask_loss(logits, truth, trusted)
        losses["G mask adversarial"] = functional.softplus(-self.mask_judge(shown).float()).mean()
        losses["trusted"] = trusted.float().mean()
        weights = config.weight_mask, config.weight_mask_adversarial
        return weights[0] * losses["G mask"] + weights[1] * losses["G mask adversarial"]

    def _targets(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class indices (n, H, W), where they are trusted, and which rows are labelled (n,)."""
        labelled = self.data.labelled[rows]
        truth = self.data.masks.batch(rows)
        trusted = torch.ones_like(truth, dtype=torch.bool)
        if self.pseudo is not None and not labelled.all():
            places = torch.searchsorted(self.without_labels, rows[~labelled])
            found = torch.from_numpy(np.array(self.pseudo[places.numpy()])).long()
            trusted[~labelled] = found != UNTRUSTED
            truth[~labelled] = found * (found != UNTRUSTED)
        return truth, trusted, labelled

    def _ask_teacher(self, index: int) -> None:
        """Save G2 and D^S when stage b begins; see that their pseudo-segmentations are there."""
        if index == self.config.steps_supervised:
            self.teacher.load_state_dict(self.average.module.state_dict())
            recalibrate(self.teacher, self.conditions, self.with_labels, self.config.batch)
            self.teacher_judge.load_state_dict(self.mask_judge.state_dict())
            self.pseudo = None
        elif self.pseudo is not None:
            return
        found = read_pseudo(self.run.folder, self.data)
        if found is None or index == self.config.steps_supervised:
            make_pseudo(
                self.run.folder, self.data, self._teach, share=self.config.trusted,
                least=self.config.confidence, batch=self.config.batch, devices=self.devices,
            )  # fmt: skip
            found = read_pseudo(self.run.folder, self.data)
        assert found is not None
        self.pseudo = found[1]

    @torch.no_grad()
    def _teach(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Segmentations by the saved G2, and the confidence in them."""
        _, logits = self.teacher(self._to_device(self.conditions(rows)))
        probabilities = logits.float().softmax(1)
        seen = self._shown(probabilities)
        confidence = torch.sigmoid(self.teacher_judge(seen).float())[:, 0]
        best, labels = probabilities.max(1)
        return labels, confidence * best if self.config.judge == "errors" else confidence

    def _shown(self, probabilities: Tensor) -> Tensor:
        """What D^S sees of a prediction."""
        return probabilities if self.config.judge == "published" else hardened(probabilities)

    def _set_rates(self, index: int) -> None:
        """Constant, then linear to zero over the second half."""
        rate = self.config.lr * min(1.0, 2 * (1 - index / self.config.steps))
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def preview(self) -> Tensor:
        """Conditions above what the averaged generator makes of them, (1, H, W) in [0, 1]."""
        chosen = self.conditions(slice(0, 4))
        model = self.average.module
        assert isinstance(model, Translator)
        images, masks = model.translate(chosen)
        if images is None:
            assert masks is not None
            images = masks.argmax(1)[:, None] / max(1, self.data.classes - 1)
        return torch.cat([chosen.mean(1), images[:, 0]], 1).transpose(0, 1).flatten(1)[None]


def _spread(count: int) -> Tensor:
    """Places of `count` things that are as far apart as can be, in (0, 1)."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count
