"""Montages: four axial slices in one picture (paper, section IV.A and Fig. 4)."""

from __future__ import annotations

import numpy as np

from umbench.errors import InputError

LEAST_LUNG = 0.10
GROUPS = 4


def montage_slices(lung_share: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Choose 4 slices along the axis from each slice's share of lung area (Z,) in [0, 1].

    Slices under 10 % are dropped, the rest split into 4 equal groups by axial position, and one
    of each is drawn. InputError where fewer than 4 slices are left.
    """
    kept = np.flatnonzero(np.asarray(lung_share) >= LEAST_LUNG)
    if len(kept) < GROUPS:
        raise InputError(
            f"only {len(kept)} slices have at least {LEAST_LUNG:.0%} of lung; a montage needs 4"
        )
    return np.array([generator.choice(group) for group in np.array_split(kept, GROUPS)])


def tile(slices: np.ndarray, layout: tuple[int, int] = (2, 2)) -> np.ndarray:
    """Put slices (rows * columns, h, w) row by row into one picture (rows * h, columns * w)."""
    rows, columns = layout
    count, height, width = slices.shape
    if count != rows * columns:
        raise ValueError(f"{count} slices do not fill {rows} x {columns} tiles")
    grid = slices.reshape(rows, columns, height, width)
    return grid.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
