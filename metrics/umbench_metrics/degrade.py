"""The fixed damage of the `degraded` control: the ceiling of the anchored scale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from umbench_metrics.images import check_images

if TYPE_CHECKING:
    from torch import Tensor

    from umbench_metrics.images import Images

FACTOR, CONTRAST, NOISE = 8, 0.5, 0.15


def degrade(images: Tensor, seed: int = 0, start: int = 0) -> Tensor:
    """Damage images (N, 1, H, W) in [0, 1] in a fixed way, which seed and row number give.

    In this order: an eighth of the resolution (box mean, nearest neighbour back), contrast
    halved about 0.5, Gaussian noise of SD 0.15, clipping to [0, 1]. `start` is the row number of
    the first image: a set that is damaged part by part ends as one that is damaged whole.
    ValueError where a side is no multiple of 8.
    """
    return _damaged(images, seed, range(start, start + len(images)))


@dataclass(frozen=True)
class Degraded:
    """Images that are damaged when they are asked for; see `degrade` and `Images`."""

    images: Images
    seed: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: np.ndarray) -> Tensor:
        """Damaged images (n, 1, H, W) of row numbers (n,)."""
        return _damaged(self.images.batch(rows), self.seed, rows.tolist())


def _damaged(images: Tensor, seed: int, rows: Iterable[int]) -> Tensor:
    """Each image's noise follows from the seed and its own row number."""
    import torch
    from torch.nn import functional

    images = check_images(images)
    if images.shape[-1] % FACTOR or images.shape[-2] % FACTOR:
        raise ValueError(f"sides must be multiples of {FACTOR}, not {tuple(images.shape[-2:])}")
    small = functional.avg_pool2d(images, FACTOR)
    coarse = functional.interpolate(small, scale_factor=FACTOR, mode="nearest")
    noise = torch.empty_like(images, device="cpu")
    for place, row in zip(noise, rows, strict=True):
        drawn = np.random.default_rng((seed, row)).standard_normal(place.shape, dtype=np.float32)
        place.copy_(torch.from_numpy(drawn))
    return ((coarse - 0.5) * CONTRAST + 0.5 + NOISE * noise.to(images.device)).clamp(0, 1)
