"""Superpixels of grey images, per montage tile; algorithms by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np

ENTRY_POINTS = "umbench.superpixels"

Algorithm = Callable[[np.ndarray, int, float], np.ndarray]
"""(image (h, w) float64 in [0, 255], count, compactness) -> labels (h, w), non-negative."""


def slic(image: np.ndarray, count: int, compactness: float) -> np.ndarray:
    """Simple linear iterative clustering (Achanta et al. 2010) on the scale 0 to 255."""
    from skimage.segmentation import slic as skimage_slic

    labels: np.ndarray = skimage_slic(
        image, n_segments=count, compactness=compactness, channel_axis=None, start_label=0
    )
    return labels


def none(image: np.ndarray, count: int, compactness: float) -> np.ndarray:
    """Every pixel its own superpixel: the image itself is the guidance."""
    return np.arange(image.size).reshape(image.shape)


ALGORITHMS: dict[str, Algorithm] = {"slic": slic, "none": none}


def algorithm_names() -> list[str]:
    """Names of all registered algorithms, those of third parties included."""
    return [*ALGORITHMS, *sorted(point.name for point in entry_points(group=ENTRY_POINTS))]


def get_algorithm(name: str) -> Algorithm:
    """The algorithm called `name`; ValueError names the nearest one."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            plugged: Algorithm = point.load()
            return plugged
    near = difflib.get_close_matches(name, algorithm_names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no superpixel algorithm {name!r}{hint}")


def superpixels(
    images: np.ndarray,
    algorithm: str = "slic",
    count: int = 512,
    compactness: float = 15.0,
    layout: tuple[int, int] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> np.ndarray:
    """Label maps (N, H, W) int32 of images (N, H, W) in [0, 255]; labels of an image count from 0.

    Each tile of `layout` (rows, columns) is segmented alone, with `count` superpixels asked for
    per tile: a segmentation across tile borders would mix slices. Paper, section III.A.
    """
    segment = get_algorithm(algorithm)
    rows, columns = layout or (1, 1)
    labels = np.empty(images.shape, dtype=np.int32)
    height, width = images.shape[1] // rows, images.shape[2] // columns
    for index, image in enumerate(images.astype(np.float64)):
        offset = 0
        for r in range(rows):
            for c in range(columns):
                window = np.s_[r * height : (r + 1) * height, c * width : (c + 1) * width]
                _, found = np.unique(
                    segment(image[window], count, compactness), return_inverse=True
                )
                labels[index][window] = found.reshape(height, width) + offset
                offset += int(found.max()) + 1
        if progress is not None:
            progress(index + 1, len(images), "superpixels")
    return labels
