"""One table over the arms of a matrix: what the ablations of the paper look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from umbench.leaderboard.tables import PRESENT, cells, headings

if TYPE_CHECKING:
    from rich.table import Table


def combine(folders: list[Path]) -> pd.DataFrame:
    """The leaderboards of several run folders, the arm in the first column."""
    boards = []
    for folder in folders:
        board = pd.read_csv(folder / "leaderboard.csv")
        board.insert(0, "arm", folder.name)
        boards.append(board)
    return pd.concat(boards, ignore_index=True)


def render_matrix(table: pd.DataFrame) -> Table:
    """The combined table for a terminal: generators only, distances not normalised across arms.

    Anchored values can be read across arms, since the anchors do not depend on the arm's methods
    but for cross-fitted networks, which are trained on them.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    scales = ", ".join(sorted(set(table["normalisation"])))
    counts = ", ".join(
        map(str, sorted(set(table.loc[table["kind"] == "generator", "n_synthetic"])))
    )
    shown = Table(
        title="All arms",
        caption=f"MM-FID, {scales}, mean ± SD over observations, lower is better; MM-STD over that "
        f"of real; n = {counts}. What the numbers were computed from stands below each arm's own "
        "table.",
        box=box.SIMPLE_HEAD,
    )
    chosen = [
        name
        for name in headings(table)
        if name not in ("tier", "min-max") and not name.endswith(PRESENT)
    ]
    shown.add_column("arm", overflow="fold")
    for name in chosen:
        names = name == "method"  # names may break, numbers may not
        shown.add_column(
            Text(name.replace(" ", "\n")), justify="left" if names else "right",
            no_wrap=not names, overflow="fold",
        )  # fmt: skip
    made = table[table["kind"] == "generator"]
    for arm, row in zip(made["arm"], cells(made, chosen, "\n"), strict=True):
        shown.add_row(Text(str(arm)), *(Text(cell) for cell in row))
    return shown
