"""Tests as a table: the paper's test and one by resampling, side by side, a row per comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from umbench.statistics.paired import holm, wilcoxon_paired
from umbench.statistics.resampling import ResamplingTest

COLUMNS = (
    "metric", "family", "a", "b", "n", "difference", "statistic", "p", "p_holm", "effect",
    "smallest_p", "p_resampling", "p_resampling_holm", "permutations", "note",
)  # fmt: skip


def adjusted(rows: Sequence[dict[str, Any]], alpha: float) -> pd.DataFrame:
    """Rows of `test_row`, with p values adjusted by Holm within each metric's family.

    A note says where a family is so large that no p value could come below `alpha`.
    """
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    for _, part in table.groupby(["metric", "family"], sort=False):
        table.loc[part.index, "p_holm"] = holm(list(part["p"]))
        table.loc[part.index, "p_resampling_holm"] = holm(list(part["p_resampling"]))
        table.loc[part.index, "note"] = [note(row, len(part), alpha) for row in part.itertuples()]
    return table


def test_row(
    metric: str, family: str, a: str, b: str, x: np.ndarray, y: np.ndarray, test: ResamplingTest
) -> dict[str, Any]:
    """One comparison of `a` with `b`, by their values x and y, pair by pair, and by resampling."""
    paper = wilcoxon_paired(x, y)
    return {
        "metric": metric,
        "family": family,
        "a": a,
        "b": b,
        "n": len(x),
        "difference": float(np.mean(x - y)),
        "statistic": paper.statistic,
        "p": paper.p,
        "effect": paper.effect,
        "smallest_p": paper.smallest_p,
        "p_resampling": test.p,
        "permutations": test.permutations,
        "note": paper.note,
    }


def note(row: Any, comparisons: int, alpha: float) -> str:
    """What keeps a row's tests from ever reaching alpha after Holm's adjustment."""
    notes = []
    if row.smallest_p * comparisons > alpha:
        notes.append("Wilcoxon cannot reach alpha with so few pairs")
    if comparisons / (row.permutations + 1) > alpha:
        notes.append("resampling cannot reach alpha with so few permutations")
    return "; ".join([*([row.note] if row.note and not notes else []), *notes])
