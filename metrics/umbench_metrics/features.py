"""One pass over the images: features (N, D) at one resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from umbench_metrics.images import check_images, resize

if TYPE_CHECKING:
    from torch import Tensor

    from umbench_metrics.extractors import Extractor


def extract(
    extractor: Extractor,
    images: Tensor,
    resolution: int,
    *,
    batch: int = 16,
    progress: Callable[[int, int, str], None] | None = None,
) -> np.ndarray:
    """Features (N, dim) float32 of images (N, 1, H, W) in [0, 1], resized to `resolution`.

    They are resized where the extractor computes: on its `device`, if it names one. The batch size
    changes values by rounding alone. ValueError for NaN or values out of range.
    """
    if batch < 1 or resolution < 1:
        raise ValueError(f"batch and resolution must be positive, not {batch} and {resolution}")
    images = check_images(images)
    device = getattr(extractor, "device", images.device)
    parts = [np.empty((0, extractor.dim), dtype=np.float32)]
    for start in range(0, len(images), batch):
        part = extractor(resize(images[start : start + batch].to(device), resolution))
        parts.append(part.detach().cpu().float().numpy())
        if progress is not None:
            progress(min(start + batch, len(images)), len(images), extractor.name)
    return np.concatenate(parts)
