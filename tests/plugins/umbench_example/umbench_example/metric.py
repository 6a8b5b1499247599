"""The metric `mean-gap`: how far the mean features of both sets are apart."""

import numpy as np
from umbench_metrics import Plain


def mean_gap(real: np.ndarray, synthetic: np.ndarray) -> float:
    """Root mean square, over dimensions, of the difference between the means over images.

    Each side: features (n, D), finite; computed in float64. ValueError says what is wrong.
    """
    first, second = _mean(real, "real"), _mean(synthetic, "synthetic")
    if len(first) != len(second):
        raise ValueError(f"features differ in dimension: {len(first)} and {len(second)}")
    return float(np.sqrt(np.mean((first - second) ** 2)))


def _mean(side: np.ndarray, name: str) -> np.ndarray:
    if side.ndim != 2 or len(side) == 0:
        raise ValueError(f"{name}: features must be (n, D) with n >= 1, not {side.shape}")
    if not np.isfinite(side).all():
        raise ValueError(f"{name}: features hold NaN or infinity")
    mean: np.ndarray = side.mean(axis=0, dtype=np.float64)
    return mean


class MeanGap(Plain):
    """The metric as suites, tables and tests take it."""

    name = score = "mean-gap"
    label, aspect, direction = "Mean gap", "Fidelity", "lower"
    means = "distance between mean features"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The raw value of one fold."""
        return mean_gap(real, synthetic)
