"""Superpixels of grey images, per montage tile; algorithms by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.metadata import entry_points

import numpy as np

ENTRY_POINTS = "umbench.superpixels"

Algorithm = Callable[[np.ndarray, int, float], np.ndarray]
"""(image (h, w) float64 in [0, 255], count, compactness) -> labels (h, w), non-negative."""

COMPACTNESS = 40.0
"""What suites take by default; chosen by `benchmarks/superpixels.py`."""
FLAT = 1e-6
"""Grey levels. A tile that spans less has no edges to follow."""
SMALLEST = 0.25
"""Fragments below this share of a seed's area join a neighbour, as in Achanta's own code."""


def slic(image: np.ndarray, count: int, compactness: float) -> np.ndarray:
    """Simple linear iterative clustering (Achanta et al. 2010) on the grey scale 0 to 255.

    A pixel goes to the centre at the least sqrt(d_grey^2 + (d_xy / S)^2 * compactness^2), where
    S is the distance of neighbouring centres at the start: compactness is the step in grey levels
    that outweighs a way of S pixels, whatever range the image spans. Seeds stand on a grid of
    whole pixels, so that fewer or more superpixels may come back than were asked for.
    """
    from skimage.segmentation import slic as skimage_slic

    # scikit-image stretches every image to [0, 1] before it weighs distances; a compactness
    # stretched alike takes that back
    span = max(float(np.ptp(image)), FLAT)
    labels: np.ndarray = skimage_slic(
        image,
        n_segments=count,
        compactness=compactness / span,
        min_size_factor=SMALLEST,
        channel_axis=None,
        start_label=0,
    )
    return labels


ALGORITHMS: dict[str, Algorithm] = {"slic": slic}
SEGMENTLESS = ("none",)
"""No superpixels: every pixel stands for itself, and the image is the guidance."""


def needs_segmentation(algorithm: str) -> bool:
    """False where the guidance is made from the image itself; see `guidance_of`."""
    return algorithm not in SEGMENTLESS


def algorithm_names() -> list[str]:
    """All names that a suite may give, those of third parties included."""
    plugged = sorted(point.name for point in entry_points(group=ENTRY_POINTS))
    return [*ALGORITHMS, *SEGMENTLESS, *plugged]


def get_algorithm(name: str) -> Algorithm:
    """The algorithm called `name`; ValueError names the nearest one."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    if name in SEGMENTLESS:
        raise ValueError(f"{name!r} makes no superpixels: take the image itself as guidance")
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            plugged: Algorithm = point.load()
            return plugged
    near = difflib.get_close_matches(name, algorithm_names(), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"no superpixel algorithm {name!r}{hint}")


def segment(
    image: np.ndarray,
    algorithm: str,
    count: int,
    compactness: float,
    layout: tuple[int, int] | None = None,
) -> np.ndarray:
    """Labels (H, W) int32, from 0 without gaps, of one image (H, W) uint8 or float in [0, 255].

    Each tile of `layout` (rows, columns) is segmented alone, with `count` superpixels asked for
    per tile: a segmentation across tile borders would mix slices. Paper, section III.A. ValueError
    for an image that the layout does not divide. Safe to call from several threads at once.
    """
    chosen = get_algorithm(algorithm)
    rows, columns = layout or (1, 1)
    if image.ndim != 2 or image.shape[0] % rows or image.shape[1] % columns:
        raise ValueError(f"an image of {image.shape} does not divide into {rows} x {columns} tiles")
    height, width = image.shape[0] // rows, image.shape[1] // columns
    labels = np.empty(image.shape, dtype=np.int32)
    offset = 0
    for top in range(0, image.shape[0], height):
        for left in range(0, image.shape[1], width):
            window = np.s_[top : top + height, left : left + width]
            tile = np.ascontiguousarray(image[window], dtype=np.float64)
            names, found = np.unique(chosen(tile, count, compactness), return_inverse=True)
            labels[window] = found.reshape(height, width) + offset
            offset += len(names)
    return labels
