"""Shapes and schedules of StyleGAN by name; docs/presets.md says what they were chosen by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from umbench_baselines.stylegan.config import StyleGANConfig

PAPER_EPOCHS = (8, 16, 16, 32, 32, 64, 64)
PAPER_BATCHES = (128, 128, 128, 64, 32, 16, 8)


def _paper(
    size: int, channels: int, count: int, target: str, max_size: int | None = None
) -> StyleGANConfig:
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


TARGETS = ("masks", "guidance", "images")


def _short(
    size: int, channels: int, target: str, images: tuple[int, ...], **values: Any
) -> StyleGANConfig:
    """A narrow network on a schedule of a few thousand images, whatever their number.

    images: those shown per stage from 8 px on. Images hold their discriminator less than flat
    regions do, which fall to pieces where it is let loose.
    """
    start = 8 if min(size, values["max_size"]) >= 8 else 4
    plain = StyleGANConfig(size, channels, start_size=start, max_size=values["max_size"])
    stages = len(plain.resolutions)
    return replace(
        plain,
        stage_images=images[:stages] + images[-1:] * (stages - len(images)),
        # Small batches: many steps matter more than smooth ones on so short a schedule.
        stage_batches=(8,) * stages,
        r1_gamma=0.3 if target == "images" else 1.0,
        r1_interval=8,
        psi=1.0,
        **values,
    )


QUICK: dict[str, dict[str, Any]] = {
    "masks": {"images": (1600, 3200, 2400), "largest": 32, "mixing": 0.0},
    "guidance": {"images": (1600, 2400, 8800), "largest": 32, "mixing": 0.0, "decay": 0.3},
    "images": {"images": (2000, 3000, 3600, 3800), "largest": 64, "augment": ("translation",)},
}
"""What differs by what is drawn in `quick`; measured, docs/presets.md."""


def _quick(
    size: int, channels: int, count: int, target: str, max_size: int | None = None
) -> StyleGANConfig:
    """A minute or two on one CPU core: many steps of narrow networks at a high rate."""
    own = dict(QUICK[target])
    images, largest = own.pop("images"), own.pop("largest")
    return _short(
        size, channels, target, images, max_size=max_size or largest, latent=64, mapping_layers=4,
        fmap_base=256, fmap_max=32, lr=0.012, ema_images=500.0, **own,
    )  # fmt: skip


def _small(
    size: int, channels: int, count: int, target: str, max_size: int | None = None
) -> StyleGANConfig:
    """A few times the work of `quick`; all of the architecture, narrower than the paper's.

    Long enough for a discriminator to learn few images by heart: they are shifted.
    """
    return _short(
        size, channels, target, (2600, 3900, 4680, 5850), max_size=max_size or 64, latent=128,
        mapping_layers=8, fmap_base=512, fmap_max=48, lr=0.008, ema_images=1000.0,
        augment=("translation",),
    )  # fmt: skip


PRESETS: dict[str, Callable[..., StyleGANConfig]] = {
    "quick": _quick,
    "small": _small,
    "paper": _paper,
}
"""Configurations by name, given (size, channels, count of training images, target, max_size)."""


def preset(
    name: str,
    *,
    size: int,
    channels: int,
    count: int,
    target: str = "images",
    untrained: bool = False,
    scale: float = 1.0,
    max_size: int | None = None,
) -> StyleGANConfig:
    """A preset for images of side `size`, of which there are `count` to train on.

    target: "masks", "guidance" or "images". max_size: the largest side that the networks work
    at; without it `paper` works at the size of the images. scale: times the images shown, at
    least one batch per stage. With `untrained` the schedule is empty. ValueError for an unknown
    name or target.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset called {name!r}; there are {', '.join(PRESETS)}")
    if target not in TARGETS:
        raise ValueError(f"no target called {target!r}; there are {', '.join(TARGETS)}")
    config = PRESETS[name](size, channels, count, target, max_size)
    if untrained:
        return replace(config, stage_images=(), stage_batches=())
    stages = zip(config.stage_images, config.stage_batches, strict=True)
    images = tuple(max(batch, round(shown * scale)) for shown, batch in stages)
    return replace(config, stage_images=images)
