"""Variety: the spread of features (MM-STD of one observation)."""

from __future__ import annotations

import numpy as np


def feature_std(features: np.ndarray) -> float:
    """Mean over dimensions of the standard deviation over images (ddof 1) of (n, D) features.

    Paper, section III.C.2; ValueError for n < 2.

    >>> feature_std(np.array([[0.0, 1.0], [2.0, 1.0]])) == 2**0.5 / 2
    True
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"features must be (n, D) with n >= 2, not {x.shape}")
    return float(x.std(axis=0, ddof=1).mean())
