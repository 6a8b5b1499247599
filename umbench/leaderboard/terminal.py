"""The leaderboard in a terminal, at whatever width it has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umbench.leaderboard.tables import MEANS, PRESENT, cells, footer, headings

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

UNBOUNDED = 10_000
HEADING = 8
"""Letters of a heading in a narrow table: words may break, numbers may not."""


def render_folder(folder: Path) -> Leaderboard:
    """What `umbench run` prints: the table of a run folder and what it was computed from."""
    import pandas as pd

    board = pd.read_csv(folder / "leaderboard.csv")
    meta = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))["meta"]
    return Leaderboard(board, meta)


@dataclass(frozen=True)
class Leaderboard:
    """Prints itself without ever breaking a number over two lines.

    Where a terminal is too narrow, standard deviations go below their means; then columns go, in
    the order of `layouts`, and a line says which.
    """

    board: pd.DataFrame
    meta: dict[str, Any]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.text import Text

        wide = options.update(max_width=UNBOUNDED)
        everything = headings(self.board)
        for shown, between in layouts(everything):
            table = self.table(shown, between)
            if Measurement.get(console, wide, table).maximum <= options.max_width:
                break
        yield table
        gone = [name for name in everything if name not in shown]
        lines = footer(self.meta)
        if gone:
            lines.insert(0, f"Left out at this width, but in leaderboard.md: {'; '.join(gone)}.")
        if self.meta["reference"]:
            lines.append(f"* the suite's reference, {self.meta['reference']}.")
        yield from (Text(line, style="dim") for line in lines)

    def table(self, shown: Sequence[str], between: str) -> Table:
        """The board with some of its columns."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = Text(str(self.meta["suite"]))
        table = Table(title=title, title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.show_edge = table.pad_edge = False
        for heading in shown:
            names = heading == "method"
            table.add_column(
                Text(_folded(heading, HEADING if between == "\n" else UNBOUNDED)),
                justify="left" if names or heading == "tier" else "right",
                no_wrap=not names,  # names break where nothing else helps
                overflow="fold",
            )
        previous = ""
        rows = zip(cells(self.board, shown, between), self.board["kind"], strict=True)
        for row, kind in rows:
            if kind == "generator" and previous and row[0] != previous:
                table.add_section()
            previous = row[0] if kind == "generator" else previous
            name = f"{row[1]} *" if row[1] == self.meta["reference"] else row[1]
            style = "" if kind == "generator" else "dim"
            table.add_row(row[0], Text(name), *row[2:], style=style)
        return table


def layouts(everything: list[str]) -> Iterator[tuple[list[str], str]]:
    """Headings and what stands between a mean and its standard deviation, widest first.

    Columns go in this order: Dice over images with a region alone, the min-max scale, MM-STD,
    Dice from the last region on. Tier, method and MM-FID stay.
    """
    yield everything, " "
    yield everything, "\n"
    others = everything[3:]
    dice = [name for name in others if name not in MEANS]
    present = [name for name in dice if name.endswith(PRESENT)]
    whole = [name for name in dice if name not in present]
    left = list(everything)
    for name in (*reversed(present), "min-max", "MM-STD", *reversed(whole)):
        left.remove(name)
        yield list(left), "\n"


def _folded(heading: str, width: int) -> str:
    """A word of a heading per line, or several lines for one.

    >>> _folded("Dice consolidation", 8).splitlines()
    ['Dice', 'consolid', 'ation']
    """
    lines = [word[k : k + width] for word in heading.split() for k in range(0, len(word), width)]
    return "\n".join(lines)
