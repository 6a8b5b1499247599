"""`mm-std`: the spread of features, over that of held-out real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from umbench_metrics.metric import Column, Plain, Scaled, Shown, Span

if TYPE_CHECKING:
    import pandas as pd

RELATIVE = "mm-std-relative"


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


class MMSTD(Plain):
    """Mean over observations of the feature STD over that of `real` (paper, III.C.2)."""

    name = score = "mm-std"
    label, aspect, direction = "MM-STD", "Variety", "near that of real"
    means = "feature STD over that of `real`"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The spread of the synthetic images; the real ones play no part."""
        return feature_std(synthetic)

    def scaled(self, raw: pd.DataFrame, span: Span) -> Scaled:
        """Over that of `real`: 1 is as varied as held-out images.

        Extractors differ by orders of magnitude in the spread of their features, so that a mean of
        raw values over observations would be one extractor's. Without `real` the unit is the mean
        over methods.
        """
        keys = ["seed", "extractor", "resolution"]
        unit = raw[raw["method"] == "real"] if (raw["method"] == "real").any() else raw
        units = unit.groupby(keys)["value"].mean().rename("unit").reset_index()
        joined = raw.merge(units, on=keys, how="left", validate="many_to_one")
        values = joined["value"] / joined["unit"]
        scaled = joined.drop(columns="unit")
        return Scaled([scaled.assign(metric=RELATIVE, direction="near 1", value=values)])

    def shown(self, scores: set[str], span: Span) -> Shown:
        """The relative one."""
        return Shown(self.name, RELATIVE)

    def columns(self, shown: Shown) -> Sequence[Column]:
        """The relative one for people, the raw one in the file."""
        relative = Column("mm_std", shown.score, "near 1", self.label, "feature STD / real")
        return (relative, Column("mm_std_raw", self.score, self.direction))

    def explained(self, shown: Shown) -> str:
        """What 1 is."""
        return (
            f"{self.label}: {self.means}, mean ± SD over observations; 1 is as varied as held-out "
            "images (without `real`: over the mean of all methods)"
        )

    def reading(self, shown: Shown) -> str:
        """What 1 is."""
        return (
            f"{self.label} is the spread of features over that of *real*: 1 is as varied as "
            "held-out images."
        )

    def differences(
        self, real: np.ndarray, pool: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> np.ndarray:
        """See `umbench_metrics.metric.Resampled`."""
        pool = pool.astype(np.float64)
        pool -= pool.mean(axis=0)  # about the mean, or the sums of squares would cancel
        out: np.ndarray = _stds(pool, first) - _stds(pool, second)
        return out

    def size(self, real: np.ndarray, both: np.ndarray) -> float:
        """The spread of both methods' images together."""
        return feature_std(both)

    def unit_of(self, raw: Mapping[str, float], shown: Shown) -> float | None:
        """The spread of held-out images."""
        return float(raw["real"]) if "real" in raw else None


def _stds(pool: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean over dimensions of the STD (ddof 1) for every row selection (P, n)."""
    n = rows.shape[1]
    counts = np.stack([np.bincount(row, minlength=len(pool)) for row in rows]).astype(float)
    first, second = counts @ pool, counts @ pool**2
    out: np.ndarray = np.sqrt(np.clip(second - first**2 / n, 0, None) / (n - 1)).mean(axis=1)
    return out
