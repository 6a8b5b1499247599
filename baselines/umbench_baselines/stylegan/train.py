"""Progressive training of StyleGAN; the presets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.stylegan.augment import augment
from umbench_baselines.stylegan.networks import Discriminator, StyleGAN, StyleGANConfig, fade
from umbench_baselines.training import (
    Devices,
    MovingAverage,
    Stateful,
    TrainingRun,
    deterministic,
    draw_batch,
    run_loop,
    step_seed,
)

PAPER_EPOCHS = (8, 16, 16, 32, 32, 64, 64)
PAPER_BATCHES = (128, 128, 128, 64, 32, 16, 8)


def _paper(size: int, channels: int, count: int, max_size: int = 256) -> StyleGANConfig:
    """Section IV.B; stages beyond 256 px repeat the last epochs and halve the batch."""
    stages = len(StyleGANConfig(size, channels, max_size=max_size).resolutions)
    more = max(0, stages - len(PAPER_EPOCHS))
    epochs = (PAPER_EPOCHS + PAPER_EPOCHS[-1:] * more)[:stages]
    halved = tuple(max(1, PAPER_BATCHES[-1] // 2**i) for i in range(1, more + 1))
    return StyleGANConfig(
        size,
        channels,
        stage_images=tuple(e * count for e in epochs),
        stage_batches=(PAPER_BATCHES + halved)[:stages],
        max_size=max_size,
    )


def _short(size: int, channels: int, factor: float, **values: Any) -> StyleGANConfig:
    """A narrow network on a schedule of a few thousand images, whatever the number of images."""
    start = 8 if min(size, values["max_size"]) >= 8 else 4
    stages = len(
        StyleGANConfig(size, channels, start_size=start, max_size=values["max_size"]).resolutions
    )
    images = [SHORT_IMAGES[min(stage, len(SHORT_IMAGES) - 1)] for stage in range(stages)]
    return StyleGANConfig(
        size,
        channels,
        start_size=start,
        stage_images=tuple(int(factor * n) for n in images),
        # Small batches: many steps matter more than smooth ones on so short a schedule.
        stage_batches=(8,) * stages,
        **values,
    )


SHORT_IMAGES = (2000, 3000, 3600, 4500)


def _quick(size: int, channels: int, count: int, max_size: int = 32) -> StyleGANConfig:
    """One or two minutes on one CPU core: many steps of narrow networks at a high rate."""
    return _short(
        size, channels, 1.0, max_size=max_size, latent=64, mapping_layers=4, fmap_base=256,
        fmap_max=32, lr=0.012, r1_gamma=1.0, r1_interval=8, ema_images=500.0,
    )  # fmt: skip


def _small(size: int, channels: int, count: int, max_size: int = 64) -> StyleGANConfig:
    """A few times the work of `quick`; all of the architecture, narrower than the paper's."""
    return _short(
        size, channels, 1.3, max_size=max_size, latent=128, mapping_layers=8, fmap_base=512,
        fmap_max=48, lr=0.008, r1_gamma=1.0, r1_interval=8, ema_images=1000.0,
    )  # fmt: skip


PRESETS: dict[str, Callable[..., StyleGANConfig]] = {
    "quick": _quick,
    "small": _small,
    "paper": _paper,
}
"""Configurations by name, given (size, channels, count of training images, max_size)."""


def preset(
    name: str,
    *,
    size: int,
    channels: int,
    count: int,
    target: str = "images",
    untrained: bool = False,
    max_size: int | None = None,
) -> StyleGANConfig:
    """A preset for images of side `size`, of which there are `count` to train on.

    target: "masks", "guidance" (flat regions: enlarged by nearest neighbour) or "images". `quick`
    draws images at up to 64 px, twice the side of its guidance, and `quick` and `small` hold the
    discriminator of images less: they are what a method shows. Both shift the discriminator's
    images (holes and changes of brightness cost short trainings more than they give); `paper`
    does not augment, and enlarges masks by nearest neighbour too. With `untrained` the schedule
    is empty. ValueError for an unknown name.
    """
    from dataclasses import replace

    if name not in PRESETS:
        raise ValueError(f"no preset called {name!r}; there are {', '.join(PRESETS)}")
    if max_size is None and name == "quick" and target == "images":
        max_size = 64
    limit = {} if max_size is None else {"max_size": max_size}
    config = PRESETS[name](size, channels, count, **limit)
    flat = target == "guidance" or (name == "paper" and target == "masks")
    config = replace(
        config,
        enlarge="nearest" if flat else "bilinear",
        augment=() if name == "paper" else ("translation",),
    )
    if name != "paper" and target == "images":
        config = replace(config, r1_gamma=0.3)
    return replace(config, stage_images=(), stage_batches=()) if untrained else config


def train_stylegan(images: Tensor, config: StyleGANConfig, run: TrainingRun) -> StyleGAN:
    """Train on images (N, C, S, S) float32 in [-1, 1]; the averaged generator in eval mode.

    Each stage sees the images averaged over areas down to its resolution: for one-hot masks
    those are the shares of the classes, so that thin structures fade instead of vanishing.
    ValueError where the images do not fit the configuration.
    """
    expected = (config.channels, config.size, config.size)
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != expected:
        raise ValueError(f"images have shape {tuple(images.shape)}, expected (N, *{expected})")
    devices = Devices(run.precision)
    with deterministic(run.seed):
        generator = StyleGAN(config).to(devices.device)
        discriminator = Discriminator(config).to(devices.device)
    state = _Training(images, config, run, devices, generator, discriminator)
    run_loop(
        state.parts,
        sum(config.stage_steps),
        state.step,
        run,
        devices,
        preview=state.preview,
        label="stylegan",
    )
    return state.average.module  # type: ignore[return-value]


class _Training:
    """What the steps of a training share."""

    def __init__(
        self,
        images: Tensor,
        config: StyleGANConfig,
        run: TrainingRun,
        devices: Devices,
        generator: StyleGAN,
        discriminator: Discriminator,
    ) -> None:
        self.config, self.run, self.devices = config, run, devices
        self.generator, self.discriminator = generator, discriminator
        self.average = MovingAverage(generator, config.ema_images)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), lr=config.lr, betas=(0.0, 0.99), eps=1e-8)
            for network in (generator, discriminator)
        ]
        self.parts: dict[str, Stateful] = {
            "generator": generator,
            "discriminator": discriminator,
            "average": self.average,
            "generator optimiser": self.optimizers[0],
            "discriminator optimiser": self.optimizers[1],
        }
        self.stages = (
            [functional.interpolate(images, r, mode="area") for r in config.resolutions]
            if config.stage_images
            else []
        )

    def step(self, index: int) -> Mapping[str, Tensor | float]:
        """Update the discriminator, the generator and the average once."""
        at = self.config.position(index)
        if at.local == 0:
            # Adam starts anew with each stage: what it remembers belongs to another task.
            for optimizer in self.optimizers:
                optimizer.state.clear()
        rows = draw_batch(len(self.stages[0]), at.batch, at.local, self.run.seed + at.stage)
        real = self.stages[at.stage][self.devices.shard(rows)].to(self.devices.device)
        # Latents of the whole batch come from one stream, so devices share them out.
        source = torch.Generator().manual_seed(step_seed(self.run.seed + 1, index))
        losses: dict[str, Tensor | float] = {}

        with torch.no_grad(), self.devices.autocast():
            fake = self._generate(at.stage, at.alpha, at.batch, source)
        loss = self._discriminator_loss(fade(real, at.alpha), fake, at.alpha, at.local)
        self.devices.update(loss, self.optimizers[1])
        losses["discriminator"] = loss.detach()

        with self.devices.autocast():
            fake = self._generate(at.stage, at.alpha, at.batch, source)
            logits = self.discriminator(augment(fake, self.config.augment), at.alpha)
            loss = functional.softplus(-logits).mean()
        self.devices.update(loss, self.optimizers[0])
        losses["generator"] = loss.detach()
        self.average.update(at.batch)
        return losses

    def _generate(self, stage: int, alpha: float, batch: int, source: torch.Generator) -> Tensor:
        """Images of this process's share of a batch, two styles mixed in most batches."""
        resolution = self.config.resolutions[stage]
        layers = self.generator.active_layers(resolution)
        latents = torch.randn(batch, 2, self.config.latent, generator=source)
        mixed = torch.rand((), generator=source).item() < self.config.mixing
        cut = int(torch.randint(1, layers, (), generator=source)) if mixed else layers
        z = self.devices.shard(latents).to(self.devices.device)
        w = self.generator.mapping(z[:, 0])
        other = self.generator.mapping(z[:, 1]) if mixed else w
        self.generator.track(w)
        styles = [w] * cut + [other] * (layers - cut)
        return self.generator.synthesise(styles, resolution, alpha)[0]

    def _discriminator_loss(self, real: Tensor, fake: Tensor, alpha: float, local: int) -> Tensor:
        """Logistic loss, with R1 on real images every `r1_interval` steps."""
        config = self.config
        real = augment(real, config.augment)
        with self.devices.autocast():
            logits = self.discriminator(augment(fake, config.augment), alpha)
            loss = functional.softplus(logits).mean()
        if config.r1_gamma == 0 or local % config.r1_interval:
            with self.devices.autocast():
                return loss + functional.softplus(-self.discriminator(real, alpha)).mean()
        # The penalty differentiates twice: full precision.
        logits, penalty = gradient_penalty(self.discriminator, real, alpha)
        weight = config.r1_gamma / 2 * config.r1_interval
        return loss + functional.softplus(-logits).mean() + weight * penalty

    def preview(self) -> Tensor:
        """A grid of 4 x 4 samples (1, H, W) in [0, 1]; masks by their class."""
        images = self.average.module.sample(16, self.run.seed)  # type: ignore[operator]
        count, channels = images.shape[:2]
        grey = (
            (images[:, 0].clamp(-1, 1) + 1) / 2
            if channels == 1
            else images.argmax(1) / (channels - 1)
        )
        side = math.isqrt(count)
        rows = grey.unflatten(0, (side, side)).permute(0, 2, 1, 3)
        return rows.flatten(2).flatten(0, 1)[None]


def gradient_penalty(
    discriminator: Discriminator, real: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Logits on real images and R1: the mean squared norm of their gradient by the image."""
    real = real.detach().requires_grad_(True)
    logits = discriminator(real, alpha)
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return logits, gradient.square().sum((1, 2, 3)).mean()
