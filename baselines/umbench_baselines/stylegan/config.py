"""Shape and schedule of a StyleGAN."""

from __future__ import annotations

import math
from dataclasses import dataclass

BASE = 4
"""Side of the learned constant that every image grows from."""


@dataclass(frozen=True)
class Position:
    """Where a step lies in the schedule: stage, step within it, fade-in weight, batch."""

    stage: int
    local: int
    alpha: float
    batch: int


@dataclass(frozen=True)
class StyleGANConfig:
    """Shape and schedule of a StyleGAN.

    size: side of the images that come in and go out. max_size: the networks work at the largest
    4 * 2^k up to `size` and, where it is given, up to `max_size`; samples are enlarged from there
    (bilinear). start_size: resolution of the first stage. stage_images:
    real images shown per stage; stage_batches: global batch per stage; an empty schedule leaves
    the networks at step 0. decay: share of all steps, the last ones, over which the learning rate
    falls to 0. ema_images: half-life of the averaged weights. augment: what is done
    to the discriminator's inputs. r1_gamma acts on real images, every `r1_interval` steps with
    the weight scaled up to match. mixing: share of batches in which two styles are mixed. psi:
    truncation of what is drawn, 1 for full variety.
    """

    size: int
    channels: int
    stage_images: tuple[int, ...] = ()
    stage_batches: tuple[int, ...] = ()
    start_size: int = BASE
    max_size: int | None = None
    latent: int = 512
    mapping_layers: int = 8
    fmap_base: int = 8192
    fmap_max: int = 512
    lr: float = 0.003
    decay: float = 0.0
    r1_gamma: float = 10.0
    r1_interval: int = 16
    mixing: float = 0.9
    ema_images: float = 10_000.0
    augment: tuple[str, ...] = ()
    psi: float = 0.7

    def __post_init__(self) -> None:
        start = self.start_size
        if start < BASE or start & (start - 1):
            raise ValueError(f"start_size {start} is no power of two from {BASE} up")
        if self.largest < start:
            raise ValueError(f"size and max_size must be at least start_size {start}")
        if len(self.stage_images) != len(self.stage_batches):
            raise ValueError("stage_images and stage_batches must have the same length")
        if self.stage_images and len(self.stage_images) != len(self.resolutions):
            raise ValueError(
                f"{len(self.stage_images)} stages given, {len(self.resolutions)} needed: one each "
                f"for {', '.join(map(str, self.resolutions))} px"
            )
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is {self.decay}; it must lie in [0, 1]")

    @property
    def largest(self) -> int:
        """Side that the networks may not exceed."""
        return self.size if self.max_size is None else min(self.size, self.max_size)

    @property
    def native(self) -> int:
        """Side that the networks work at."""
        return int(BASE * 2 ** int(math.log2(self.largest / BASE)))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolution of each stage."""
        doublings = int(math.log2(self.native // self.start_size))
        return tuple(self.start_size * 2**stage for stage in range(doublings + 1))

    @property
    def stage_steps(self) -> tuple[int, ...]:
        """Optimiser steps of each stage."""
        pairs = zip(self.stage_images, self.stage_batches, strict=True)
        return tuple(math.ceil(images / batch) for images, batch in pairs)

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        total = sum(self.stage_steps)
        falling = self.decay * total
        return self.lr * min(1.0, (total - step) / falling) if falling else self.lr

    def width(self, resolution: int) -> int:
        """Feature maps at a resolution: 512 up to 32 px, then halved with each doubling."""
        return max(1, min(2 * self.fmap_base // resolution, self.fmap_max))

    def position(self, step: int) -> Position:
        """The schedule at a step; a new stage fades in over its first half."""
        for stage, steps in enumerate(self.stage_steps):
            if step < steps:
                alpha = 1.0 if stage == 0 else min(1.0, 2 * (step + 1) / steps)
                return Position(stage, step, alpha, self.stage_batches[stage])
            step -= steps
        raise ValueError("step lies beyond the schedule")
