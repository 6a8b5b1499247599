"""Shapes and schedules of StyleGAN by name; docs/presets.md says what they were chosen by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from umbench_baselines.stylegan.config import StyleGANConfig

PAPER_EPOCHS = (8, 16, 16, 32, 32, 64, 64)
PAPER_BATCHES = (128, 128, 128, 64, 32, 16, 8)


def _paper(size: int, channels: int, count: int, max_size: int | None = None) -> StyleGANConfig:
    """Section IV.B, with more stages where the images are larger than its 256 px.

    These repeat the last epochs and the last batch: half of 8 would leave each of the paper's 4
    GPUs one image, and the mini-batch deviation of the discriminator compares two at least.
    """
    stages = len(StyleGANConfig(size, channels, max_size=max_size).resolutions)
    more = max(0, stages - len(PAPER_EPOCHS))
    epochs = (PAPER_EPOCHS + PAPER_EPOCHS[-1:] * more)[:stages]
    return StyleGANConfig(
        size,
        channels,
        stage_images=tuple(e * count for e in epochs),
        stage_batches=(PAPER_BATCHES + PAPER_BATCHES[-1:] * more)[:stages],
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
