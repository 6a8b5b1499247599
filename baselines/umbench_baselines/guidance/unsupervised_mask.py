"""Algorithm 1 of the paper: superpixels become their means, means are floored to steps of t."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Values = TypeVar("Values", np.ndarray, Tensor)


def superpixel_means(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean grey value of each superpixel, painted back: (N, H, W) float32 on the images' scale.

    images: (N, H, W) in [0, 255]. labels: (N, H, W) non-negative integers. Lines 2 to 5.
    """
    means = np.empty(images.shape, dtype=np.float32)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        flat = label.ravel()
        sums = np.bincount(flat, weights=image.ravel().astype(np.float64))
        counts = np.maximum(np.bincount(flat), 1)
        means[index] = (sums / counts)[label]
    return means


def cluster(means: np.ndarray, t: int) -> np.ndarray:
    """The unsupervised mask: means in [0, 255] floored to multiples of t; t = 0 keeps them.

    Line 6. ValueError for t outside 0 .. 255.

    >>> cluster(np.array([49.9, 50.0, 255.0]), 50).tolist()
    [0.0, 50.0, 250.0]
    """
    if not 0 <= t <= 255:
        raise ValueError(f"t must lie in 0 .. 255, not {t}")
    clustered: np.ndarray = means if t == 0 else np.floor(means / t) * t
    return clustered


def snap(values: Values, t: int) -> Values:
    """Generated masks in [0, 255] to the nearest multiple of t that `cluster` can give.

    t = 0 leaves them as they are.
    """
    if t == 0:
        return values
    return (values / t).round().clip(0, 255 // t) * t
