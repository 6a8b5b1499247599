"""What an image is to a metric: grey, float32, in [0, 1]; resizing once per resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class Images(Protocol):
    """A set of images that is never held whole: what is asked for is converted."""

    def __len__(self) -> int:
        """How many there are."""

    def batch(self, rows: np.ndarray) -> Tensor:
        """Images (n, 1, H, W) float32 in [0, 1] of row numbers (n,), in the order asked for."""


@dataclass(frozen=True)
class Joined:
    """Several sets of images of one size, one after the other."""

    parts: tuple[Images, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def batch(self, rows: np.ndarray) -> Tensor:
        """See `Images`; IndexError for a row beyond the last."""
        import torch

        ends = np.cumsum([len(part) for part in self.parts])
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"rows {rows.min()} .. {rows.max()} of {len(self)} images")
        which = np.searchsorted(ends, rows, side="right")
        found = [
            (np.flatnonzero(which == k), part, ends[k] - len(part))
            for k, part in enumerate(self.parts)
        ]
        pieces = [part.batch(rows[at] - start) for at, part, start in found]
        order = np.concatenate([at for at, _, _ in found])
        return torch.cat(pieces)[torch.from_numpy(np.argsort(order))]


def check_images(images: Tensor) -> Tensor:
    """Return images (N, 1, H, W) as float32; ValueError where shape or values are not as said."""
    if images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(f"images must be (N, 1, H, W), not {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point in [0, 1], not {images.dtype}")
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        low, high = images.min().item(), images.max().item()
        raise ValueError(f"images must lie in [0, 1] without NaN; these span [{low}, {high}]")
    return images.float()


def resize(images: Tensor, size: int) -> Tensor:
    """Bilinear resize of (N, 1, H, W) to a square, antialiased; unchanged where sizes agree.

    Antialiasing matters: without it a smaller image holds samples, not averages, and features
    change with the resampler (Parmar et al. 2022).
    """
    from torch.nn import functional

    if images.shape[-2:] == (size, size):
        return images
    resized = functional.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return resized.clamp(0, 1)
