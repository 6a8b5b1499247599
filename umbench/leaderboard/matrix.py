"""One table over the arms of a matrix: what the ablations of the paper look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from umbench_metrics.metric import in_words

from umbench.leaderboard.provenance import Presented
from umbench.leaderboard.tables import PRESENT, cells, headings, read_leaderboard

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Matrix:
    """The boards of several arms, one below the other: the arm is the table's first column."""

    table: pd.DataFrame
    metrics: Sequence[Presented]


def combine(folders: Sequence[Path]) -> Matrix:
    """The leaderboards of several run folders."""
    boards = []
    metrics: dict[str, Presented] = {}
    for folder in folders:
        board, provenance = read_leaderboard(folder)
        board.insert(0, "arm", folder.name)
        boards.append(board)
        metrics |= {metric.name: metric for metric in provenance.metrics}
    return Matrix(pd.concat(boards, ignore_index=True), tuple(metrics.values()))


def render_matrix(matrix: Matrix) -> Table:
    """The combined table for a terminal: generators only, distances not normalised across arms.

    Anchored values can be read across arms, since the anchors do not depend on the arm's methods
    but for cross-fitted networks, which are trained on them.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = matrix.table[matrix.table["kind"].isin(["generator", "folder"])]
    shown = Table(title="All arms", caption=_caption(matrix, made), box=box.SIMPLE_HEAD)
    further = {column.heading for metric in matrix.metrics for column in metric.columns[1:]}
    chosen = [
        name
        for name in headings(matrix.table, matrix.metrics)
        if name != "tier" and name not in further and not name.endswith(PRESENT)
    ]
    shown.add_column("arm", overflow="fold")
    for name in chosen:
        names = name == "method"  # names may break, numbers may not
        shown.add_column(
            Text(name.replace(" ", "\n")), justify="left" if names else "right",
            no_wrap=not names, overflow="fold",
        )  # fmt: skip
    rows = cells(made, chosen, matrix.metrics, "\n")
    for arm, row in zip(made["arm"], rows, strict=True):
        shown.add_row(Text(str(arm)), *(Text(cell) for cell in row))
    return shown


def _caption(matrix: Matrix, made: pd.DataFrame) -> str:
    scales = sorted(set(matrix.table["normalisation"].dropna()))
    said = []
    for metric in matrix.metrics:
        words = [*(scales if metric.scale else []), in_words(metric.columns[0].direction)]
        said.append(f"{metric.label} ({', '.join(words)})")
    counts = ", ".join(map(str, sorted(set(made["n_synthetic"]))))
    return (
        f"{', '.join(said)}: mean ± SD over observations; n = {counts}. What the numbers were "
        "computed from stands below each arm's own table."
    )
