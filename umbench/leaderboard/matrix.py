"""One table over the arms of a matrix: what the ablations of the paper look like."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

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
    from rich.table import Table
    from rich.text import Text

    scales = ", ".join(sorted(set(table["normalisation"])))
    shown = Table(
        title="All arms",
        caption=f"MM-FID, {scales}, mean ± SD over observations, lower is better; MM-STD over that "
        "of real. What the numbers were computed from stands below each arm's own table.",
    )
    for column in ("arm", "method", "MM-FID", "MM-STD", "n"):
        name = column in ("arm", "method")  # names may break, numbers may not
        shown.add_column(
            column, justify="left" if name else "right", no_wrap=not name, overflow="fold"
        )
    for row in table[table["kind"] == "generator"].to_dict("records"):
        shown.add_row(
            Text(str(row["arm"])),
            Text(str(row["method"])),
            f"{row['mm_fid']:.3f} ± {row['mm_fid_sd']:.3f}",
            f"{row['mm_std']:.3f}",
            str(row["n_synthetic"]),
        )
    return shown
