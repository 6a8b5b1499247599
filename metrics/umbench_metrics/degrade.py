"""The fixed damage of the `degraded` control: the ceiling of the anchored scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from umbench_metrics.images import check_images

if TYPE_CHECKING:
    from torch import Tensor

FACTOR, CONTRAST, NOISE = 8, 0.5, 0.15


def degrade(images: Tensor, seed: int = 0) -> Tensor:
    """Damage images (N, 1, H, W) in [0, 1] in a fixed way; the seed gives the noise.

    In this order: an eighth of the resolution (box mean, nearest neighbour back), contrast
    halved about 0.5, Gaussian noise of SD 0.15, clipping to [0, 1]. ValueError where a side is
    no multiple of 8.
    """
    import torch
    from torch.nn import functional

    images = check_images(images)
    if images.shape[-1] % FACTOR or images.shape[-2] % FACTOR:
        raise ValueError(f"sides must be multiples of {FACTOR}, not {tuple(images.shape[-2:])}")
    small = functional.avg_pool2d(images, FACTOR)
    coarse = functional.interpolate(small, scale_factor=FACTOR, mode="nearest")
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return ((coarse - 0.5) * CONTRAST + 0.5 + NOISE * noise.to(images.device)).clamp(0, 1)
