"""The leaderboard in a terminal, at whatever width it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umbench.leaderboard.provenance import Presented, Provenance
from umbench.leaderboard.tables import PRESENT, cells, footer, headings, read_leaderboard

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

UNBOUNDED = 10_000
HEADING = 8
"""Letters of a heading in a narrow table: words may break, numbers may not."""


def render_folder(folder: Path) -> Leaderboard:
    """What `umbench run` prints: the table of a run folder and what it was computed from."""
    return Leaderboard(*read_leaderboard(folder))


@dataclass(frozen=True)
class Leaderboard:
    """Prints itself without ever breaking a number over two lines.

    Where a terminal is too narrow, standard deviations go below their means; then columns go, in
    the order of `layouts`, and a line says which.
    """

    board: pd.DataFrame
    provenance: Provenance

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.text import Text

        wide = options.update(max_width=UNBOUNDED)
        everything = headings(self.board, self.provenance.metrics)
        for shown, between in layouts(everything, self.provenance.metrics):
            table = self.table(shown, between)
            if Measurement.get(console, wide, table).maximum <= options.max_width:
                break
        yield table
        gone = [name for name in everything if name not in shown]
        lines = footer(self.provenance)
        if gone:
            lines.insert(0, f"Left out at this width, but in leaderboard.md: {'; '.join(gone)}.")
        if self.provenance.reference:
            lines.append(f"* the suite's reference, {self.provenance.reference}.")
        yield from (Text(line, style="dim") for line in lines)

    def table(self, shown: Sequence[str], between: str) -> Table:
        """The board with some of its columns."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = Text(self.provenance.suite)
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
        ranked = {method.name for method in self.provenance.methods if method.ranked}
        for row in cells(self.board, shown, self.provenance.metrics, between):
            if row[1] in ranked and previous and row[0] != previous:
                table.add_section()
            previous = row[0] if row[1] in ranked else previous
            name = f"{row[1]} *" if row[1] == self.provenance.reference else row[1]
            style = "" if row[1] in ranked else "dim"
            table.add_row(row[0], Text(name), *row[2:], style=style)
        return table


def layouts(everything: list[str], metrics: Sequence[Presented]) -> Iterator[tuple[list[str], str]]:
    """Headings and what stands between a mean and its standard deviation, widest first.

    Columns go in this order: Dice over images with a region alone, further scales of the first
    metric, the other metrics from the last on, Dice from the last region on. Tier, method and the
    first metric stay.
    """
    yield everything, " "
    yield everything, "\n"
    first, *others = [[c.heading for c in m.columns if c.heading] for m in metrics] or [[]]
    further = first[1:] + [heading for headings in reversed(others) for heading in headings]
    dice = [name for name in everything[2:] if name not in (*first, *further)]
    present = [name for name in dice if name.endswith(PRESENT)]
    whole = [name for name in dice if name not in present]
    left = list(everything)
    for name in (*reversed(present), *further, *reversed(whole)):
        left.remove(name)
        yield list(left), "\n"


def _folded(heading: str, width: int) -> str:
    """A word of a heading per line, or several lines for one.

    >>> _folded("Dice consolidation", 8).splitlines()
    ['Dice', 'consolid', 'ation']
    """
    lines = [word[k : k + width] for word in heading.split() for k in range(0, len(word), width)]
    return "\n".join(lines)
