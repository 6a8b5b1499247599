"""Differentiable augmentation of a discriminator's inputs (Zhao et al. 2020).

The same kinds of change are applied to real and generated images, so that a discriminator that
sees few real images cannot learn them by heart.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def augment(images: Tensor, kinds: Iterable[str]) -> Tensor:
    """Apply the named changes, drawn anew for each image, to (N, C, H, W) in [-1, 1].

    Kinds: "brightness" (not meaningful for one-hot masks), "translation", "cutout". Random
    numbers come from torch's global generator. ValueError for an unknown kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"no augmentation called {kind!r}; there are {', '.join(KINDS)}")
        images = KINDS[kind](images)
    return images


def brightness(images: Tensor, strength: float = 0.5) -> Tensor:
    """Add a constant from [-strength / 2, strength / 2] to each image."""
    return images + strength * (torch.rand(len(images), 1, 1, 1, device=images.device) - 0.5)


def translation(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift by up to `ratio` of the side; the border repeats what lies at the edge."""
    count, _, height, width = images.shape
    rows = _moved(count, height, ratio, images.device)
    columns = _moved(count, width, ratio, images.device)
    which = torch.arange(count, device=images.device).view(-1, 1, 1)
    # Indexing around a slice puts the channels last: (N, H, W, C).
    moved = images[which, :, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _moved(count: int, side: int, ratio: float, device: torch.device) -> Tensor:
    """Positions 0 .. side - 1 of each image after a shift, (count, side)."""
    reach = int(side * ratio + 0.5)
    shift = torch.randint(-reach, reach + 1, (count, 1), device=device)
    return (torch.arange(side, device=device) + shift).clamp(0, side - 1)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a square of `ratio` of the side, anywhere in the image, to 0."""
    count, _, height, width = images.shape
    rows = _hole(count, height, ratio, images.device)
    columns = _hole(count, width, ratio, images.device)
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hole, 0.0)


def _hole(count: int, side: int, ratio: float, device: torch.device) -> Tensor:
    """Where a hole lies along one axis, (count, side) bool."""
    extent = int(side * ratio + 0.5)
    start = torch.randint(-(extent // 2), side - extent // 2, (count, 1), device=device)
    offset = torch.arange(side, device=device) - start
    return (offset >= 0) & (offset < extent)


KINDS = {"brightness": brightness, "translation": translation, "cutout": cutout}
"""All changes by name."""
