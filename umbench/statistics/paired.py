"""The paper's test: Wilcoxon signed rank with Holm, effect size and attainable p."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

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


def pairs(methods: Sequence[str], reference: str | None) -> tuple[str, list[tuple[str, str]]]:
    """The family of comparisons, in words and as pairs: all of them, or each against one."""
    if reference is None:
        return "all pairs", list(itertools.combinations(methods, 2))
    return f"each against {reference}", [(m, reference) for m in methods if m != reference]


def compare(
    scores: pd.DataFrame, metric: str, methods: Sequence[str], reference: str | None = None
) -> pd.DataFrame:
    """Paired tests over observations (extractor x resolution, mean over seeds), Holm-adjusted.

    scores: tidy, with method, metric, extractor, resolution, value. One row per comparison: all
    pairs of methods, or each against `reference`. ValueError where methods differ in observations.
    """
    chosen = scores[scores["metric"] == metric]
    table = chosen.pivot_table(
        index=["extractor", "resolution"], columns="method", values="value", aggfunc="mean"
    )
    return _tested(table, metric, methods, reference)


def compare_dice(
    dice: pd.DataFrame, region: str, methods: Sequence[str], reference: str | None = "real"
) -> pd.DataFrame:
    """Paired tests of Dice over subjects (mean over test images and seeds), Holm-adjusted.

    Twice: over all images, and over images that hold the region in truth; each its own family.
    """
    import pandas as pd

    chosen = dice[dice["region"] == region]
    present = chosen[~chosen["empty"].isin(["truth", "both"])]
    parts = []
    for label, part in ((region, chosen), (f"{region}, where present", present)):
        if len(part):
            table = part.pivot_table(
                index="subject", columns="method", values="value", aggfunc="mean"
            )
            parts.append(_tested(table, f"dice {label}", methods, reference))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _tested(
    table: pd.DataFrame, metric: str, methods: Sequence[str], reference: str | None
) -> pd.DataFrame:
    import pandas as pd

    family, chosen = pairs(methods, reference)
    named = list(dict.fromkeys(name for pair in chosen for name in pair))
    missing = [name for name in named if name not in table]
    if missing:
        raise ValueError(f"{metric}: no values of {', '.join(missing)}")
    if table[named].isna().any(axis=None):
        raise ValueError(f"{metric}: methods differ in their {' x '.join(table.index.names)}")
    rows = []
    for a, b in chosen:
        x, y = table[a].to_numpy(), table[b].to_numpy()
        rows.append(
            {"metric": metric, "family": family, "a": a, "b": b, "difference": (x - y).mean()}
            | asdict(wilcoxon_paired(x, y))
        )
    out = pd.DataFrame(rows)
    return out.assign(p_holm=holm(list(out["p"]))) if rows else out
