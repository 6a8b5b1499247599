"""What an image is to a metric: grey, float32, in [0, 1]; resizing once per resolution."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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


def fingerprint_images(images: Tensor) -> str:
    """SHA-256 (hex) over shape and values of images (N, 1, H, W), as float32."""
    values = check_images(images).cpu().contiguous().numpy()
    digest = hashlib.sha256(str(values.shape).encode())
    digest.update(values.astype("<f4", copy=False).tobytes())
    return digest.hexdigest()
