"""The paper's test: Wilcoxon signed rank with Holm, effect size and attainable p."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

EXACT_UP_TO = 50


@dataclass(frozen=True)
class PairedTest:
    """Two-sided test of paired differences.

    effect: matched-pairs rank-biserial correlation in [-1, 1], positive where x is larger.
    smallest_p: the least p that so many pairs can give. note: what to know, or "".
    """

    p: float
    statistic: float
    effect: float
    smallest_p: float
    n: int
    note: str


def wilcoxon_paired(x: np.ndarray, y: np.ndarray) -> PairedTest:
    """Wilcoxon signed rank test of x against y, (n,) each; zero differences are dropped.

    Exact up to 50 pairs without ties, else the normal approximation. Wilcoxon 1945; effect:
    Kerby 2014. ValueError where lengths differ or values are not finite.
    """
    from scipy.stats import rankdata, wilcoxon

    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"pairs must be two vectors of one length, not {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("pairs hold NaN or infinity")
    differences = x - y
    differences = differences[differences != 0]
    n = len(differences)
    if n == 0:
        return PairedTest(1.0, 0.0, 0.0, 1.0, 0, "all differences are zero")
    ranks = rankdata(np.abs(differences))
    plus, total = float(ranks[differences > 0].sum()), n * (n + 1) / 2
    ties = len(np.unique(np.abs(differences))) < n
    method = "exact" if n <= EXACT_UP_TO and not ties else "asymptotic"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = wilcoxon(differences, zero_method="wilcox", method=method)
    smallest = min(1.0, 2.0 / 2.0**n)
    # with ties and few pairs the normal approximation falls below what any signs could give
    p = max(float(result.pvalue), smallest)
    note = "p below 0.05 cannot be reached with so few pairs" if smallest >= 0.05 else ""
    return PairedTest(p, float(result.statistic), (2 * plus - total) / total, smallest, n, note)


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment over one family of comparisons (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [] if not p_values else [float(p) for p in multipletests(p_values, method="holm")[1]]
