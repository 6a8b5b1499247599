"""Progress on stderr: stages done, the current stage's bar, time left; and the run's log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

LINE_SECONDS = 20.0


class RunDisplay:
    """A live display on a terminal, a line now and then elsewhere; nothing with `quiet`."""

    def __init__(self, name: str, *, quiet: bool, log: Path | None) -> None:
        self.name, self.quiet = name, quiet
        self.log: IO[str] | None = log.open("a", encoding="utf-8") if log else None
        self.live = not quiet and sys.stderr.isatty()
        self.total = self.begun = self.done = 0
        self.started: dict[str, float] = {}
        self.spoken: dict[str, float] = {}
        self.bars: Any = None
        self.rows: dict[str, Any] = {}

    def __enter__(self) -> RunDisplay:
        if self.live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self.bars = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
                console=Console(stderr=True),
            )  # fmt: skip
            self.bars.start()
            self.overall = self.bars.add_task(self.name, total=None, shown="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars is not None:
            self.bars.stop()
        if self.log is not None:
            self.log.close()

    def start(self, stages: int) -> None:
        """A run of so many stages begins."""
        self.total = stages
        self._write(f"{self.name}: {stages} stages to run" if stages else f"{self.name}: all there")
        if self.bars is not None:
            self.bars.update(self.overall, total=stages, shown=f"0/{stages} stages")

    def begin(self, label: str) -> None:
        """A stage begins; others may be under way."""
        self.begun += 1
        self.started[label] = self.spoken[label] = time.monotonic()
        self._write(f"[{self.begun}/{self.total}] {label}")
        if self.bars is not None:
            self.rows[label] = self.bars.add_task(f"  {label}", total=None, shown="")

    def step(self, label: str, done: int, total: int, text: str) -> None:
        """A stage is so far."""
        now = time.monotonic()
        if self.bars is not None:
            shown = f"{done}/{total} {text}"
            self.bars.update(self.rows[label], completed=done, total=total, shown=shown)
        elif not self.quiet and now - self.spoken[label] > LINE_SECONDS and done:
            self.spoken[label] = now
            left = (now - self.started[label]) / done * (total - done)
            self._write(f"    {label}: {done}/{total} {text}, about {left:.0f} s left")

    def end(self, label: str) -> None:
        """A stage is finished."""
        self.done += 1
        if self.bars is not None:
            self.bars.remove_task(self.rows.pop(label))
            shown = f"{self.done}/{self.total} stages"
            self.bars.update(self.overall, completed=self.done, shown=shown)

    def say(self, text: str) -> None:
        """A line for the log."""
        self._write(f"    {text}")

    def _write(self, text: str) -> None:
        if self.log is not None:
            self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self.log.flush()
        if not self.quiet and self.bars is None:
            print(text, file=sys.stderr, flush=True)
