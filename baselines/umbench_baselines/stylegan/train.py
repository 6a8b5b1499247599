"""Progressive training of StyleGAN."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.stylegan.augment import augment
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.networks import Discriminator, StyleGAN, fade
from umbench_baselines.stylegan.source import Source, reduced
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


def train_stylegan(images: Source, config: StyleGANConfig, run: TrainingRun) -> StyleGAN:
    """Train on images as they are drawn; returns the averaged generator in eval mode.

    Each stage sees the images averaged over areas down to its resolution (`reduced`): the copy of
    one stage, a map of a file, is all that is kept of them. ValueError where they do not fit the
    configuration.
    """
    if not len(images) or (images.channels, images.size) != (config.channels, config.size):
        raise ValueError(
            f"{len(images)} images of {images.channels} channels and side {images.size}; the "
            f"configuration needs some of {config.channels} channels and side {config.size}"
        )
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
        images: Source,
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
            torch.optim.Adam(network.parameters(), lr=config.lr, betas=(0.0, 0.99), fused=True)
            for network in (generator, discriminator)
        ]
        self.parts: dict[str, Stateful] = {
            "generator": generator,
            "discriminator": discriminator,
            "average": self.average,
            "generator optimiser": self.optimizers[0],
            "discriminator optimiser": self.optimizers[1],
        }
        self.images = images
        self._stage, self._reduced = -1, images

    def step(self, index: int) -> Mapping[str, Tensor | float]:
        """Update the discriminator, the generator and the average once."""
        at = self.config.position(index)
        if at.local == 0:
            # Adam starts anew with each stage: what it remembers belongs to another task.
            for optimizer in self.optimizers:
                optimizer.state.clear()
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = self.config.rate(index)
        rows = draw_batch(len(self.images), at.batch, at.local, self.run.seed + at.stage)
        real = self._real(at.stage).batch(self.devices.shard(rows)).to(self.devices.device)
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

    def _real(self, stage: int) -> Source:
        """The images at a stage's resolution; the copy of the stage before is let go first."""
        if stage != self._stage:
            self._reduced = self.images
            side = self.config.resolutions[stage]
            self._reduced = reduced(self.images, side, self.run.folder, self.devices)
            self._stage = stage
        return self._reduced

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
