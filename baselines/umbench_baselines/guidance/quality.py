"""How well superpixels follow an image and its anatomy, and the plain grid to compare with."""

from __future__ import annotations

import math

import numpy as np

from umbench_baselines.guidance.unsupervised_mask import mean_values


def unexplained_variance(image: np.ndarray, labels: np.ndarray) -> float:
    """Share of an image's variance that lies within its superpixels: 0 is perfect, 1 is none.

    image: (H, W) grey values. labels: (H, W) non-negative integers. 0 for a flat image. One minus
    the explained variation of Moore et al. 2008.
    """
    values = image.astype(np.float64)
    total = float(values.var())
    return (
        0.0 if total == 0 else float(((values - mean_values(values, labels)) ** 2).mean()) / total
    )


def grid_labels(shape: tuple[int, int], count: int) -> np.ndarray:
    """A plain grid (H, W) int32 of at least `count` nearly square cells, as few as do."""
    height, width = shape
    rows = min(max(round(math.sqrt(count * height / width)), 1), height)
    columns = min(math.ceil(count / rows), width)
    down, across = np.arange(height) * rows // height, np.arange(width) * columns // width
    grid: np.ndarray = (down[:, None] * columns + across).astype(np.int32)
    return grid


def under_segmentation_error(labels: np.ndarray, truth: np.ndarray) -> float:
    """How far superpixels reach over true borders, in shares of the image; 0 is perfect.

    Sum over all true segments and the superpixels that touch them of the smaller of the parts
    inside and outside the segment, over the number of pixels (Neubert and Protzel 2012). labels,
    truth: (H, W) non-negative integers; a true segment is all pixels of one number.
    """
    inside = _overlaps(labels, truth)
    outside = inside.sum(axis=1, keepdims=True) - inside
    return float(np.minimum(inside, outside).sum()) / labels.size


def boundary_recall(labels: np.ndarray, truth: np.ndarray) -> float:
    """Share of true borders that are borders of superpixels, with no tolerance.

    A border is a pair of neighbours (across or down) of different numbers. Common definitions
    allow two pixels of error, within which a grid of small cells would find nearly all. NaN
    where `truth` has no border.
    """
    true, found = _borders(truth), _borders(labels)
    return float(found[true].mean()) if true.any() else math.nan


def boundary_density(labels: np.ndarray) -> float:
    """Share of neighbouring pixels that a border parts: ragged superpixels have long borders."""
    return float(_borders(labels).mean())


def matched_share(labels: np.ndarray, others: np.ndarray) -> float:
    """Share of pixels that two segmentations label alike, whatever their numbers are.

    Every superpixel of either is paired with at most one of the other, such that most pixels
    agree. labels, others: (H, W) non-negative integers.
    """
    from scipy.optimize import linear_sum_assignment

    overlaps = _overlaps(labels, others)
    return float(overlaps[linear_sum_assignment(overlaps, maximize=True)].sum()) / labels.size


def _overlaps(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pixels that two maps have in common, (labels, others) counts."""
    shape = int(labels.max()) + 1, int(others.max()) + 1
    pairs = labels.ravel().astype(np.int64) * shape[1] + others.ravel()
    return np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Of all pairs of neighbours, across then down, whether their numbers differ."""
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    return np.concatenate([across.ravel(), down.ravel()])
