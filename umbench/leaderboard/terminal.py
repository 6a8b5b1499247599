"""The leaderboard in a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Group


def render_folder(folder: Path) -> Group:
    """What `umbench run` prints: the table of a run folder and what it was computed from."""
    import pandas as pd
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from umbench.leaderboard.tables import cells, footer

    board = pd.read_csv(folder / "leaderboard.csv")
    meta = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))["meta"]
    headings, rows = cells(board, narrow=True)
    table = Table(title=Text(str(meta["suite"])), title_style="bold")
    for heading in headings:
        left = heading in ("tier", "method")
        # words may break, numbers may not
        table.add_column(
            Text(heading, overflow="fold"),
            justify="left" if left else "right",
            min_width=5 if not left else None,
            no_wrap=heading == "method",
        )
    previous = ""
    for row, kind in zip(rows, board["kind"], strict=True):
        if kind == "generator" and previous and row[0] != previous:
            table.add_section()
        previous = row[0] if kind == "generator" else previous
        name = f"{row[1]} *" if row[1] == meta["reference"] else row[1]
        style = "" if kind == "generator" else "dim"
        table.add_row(row[0], Text(name), *row[2:], style=style)
    lines = footer(meta)
    if meta["reference"]:
        lines.append(f"* the suite's reference, {meta['reference']}.")
    return Group(table, *(Text(line, style="dim") for line in lines))
