"""Algorithm 1 of the paper: superpixels become their means, means are floored to steps of t."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Values = TypeVar("Values", np.ndarray, Tensor)


def mean_values(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean grey value of each superpixel, painted back: (H, W) float64 on the image's scale.

    image: (H, W) in [0, 255]. labels: (H, W) non-negative integers. Lines 2 to 5.
    """
    flat = labels.ravel()
    sums = np.bincount(flat, weights=image.ravel())
    means: np.ndarray = (sums / np.maximum(np.bincount(flat), 1))[labels]
    return means


def cluster(means: np.ndarray, t: int) -> np.ndarray:
    """The unsupervised mask as uint8: means in [0, 255] floored to multiples of t.

    t = 0 keeps them, rounded to whole grey levels. Line 6. ValueError for t outside 0 .. 255.

    >>> cluster(np.array([49.9, 50.0, 255.0]), 50).tolist()
    [0, 50, 250]
    """
    if not 0 <= t <= 255:
        raise ValueError(f"t must lie in 0 .. 255, not {t}")
    clustered = np.rint(means) if t == 0 else np.floor(means / t) * t
    return clustered.astype(np.uint8)


def guidance_of(image: np.ndarray, labels: np.ndarray | None, t: int) -> np.ndarray:
    """The unsupervised mask (H, W) uint8 of one image (H, W) in [0, 255] and its superpixels.

    labels: (H, W) as from `segment`; None where every pixel stands for itself.
    """
    return cluster(image if labels is None else mean_values(image, labels), t)


def snap(values: Values, t: int) -> Values:
    """Generated masks in [0, 255] to the nearest multiple of t that `cluster` can give.

    t = 0 leaves them as they are.
    """
    if t == 0:
        return values
    return (values / t).round().clip(0, 255 // t) * t
