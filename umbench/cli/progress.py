"""Progress on stderr: stages done, the current stage's bar, time left; and the run's log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from umbench.pipeline import Stage

LINE_SECONDS = 20.0


class RunDisplay:
    """A live display on a terminal, a line now and then elsewhere; nothing with `quiet`."""

    def __init__(self, name: str, *, quiet: bool, log: Path | None) -> None:
        self.name, self.quiet = name, quiet
        self.log: IO[str] | None = log.open("a", encoding="utf-8") if log else None
        self.live = not quiet and sys.stderr.isatty()
        self.total, self.index = 0, 0
        self.stage_started = self.last_line = time.monotonic()
        self.current = ""
        self.bars: Any = None

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
            self.inner = self.bars.add_task("", total=None, shown="")
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

    def stage(self, stage: Stage, index: int) -> None:
        """A stage begins."""
        self.index, self.current = index, stage.id
        self.stage_started = time.monotonic()
        self._write(f"[{index + 1}/{self.total}] {stage.id}")
        if self.bars is not None:
            shown = f"{index}/{self.total} stages"
            self.bars.update(self.overall, completed=index, shown=shown)
            self.bars.reset(self.inner, description=stage.id, total=None, shown="")

    def step(self, done: int, total: int, text: str) -> None:
        """The current stage is so far."""
        now = time.monotonic()
        if self.bars is not None:
            self.bars.update(
                self.inner, completed=done, total=total, shown=f"{done}/{total} {text}"
            )
        elif not self.quiet and now - self.last_line > LINE_SECONDS and done:
            left = (now - self.stage_started) / done * (total - done)
            self._write(f"    {self.current}: {done}/{total} {text}, about {left:.0f} s left")

    def say(self, text: str) -> None:
        """A line for the log."""
        self._write(f"    {text}")

    def _write(self, text: str) -> None:
        self.last_line = time.monotonic()
        if self.log is not None:
            self.log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self.log.flush()
        if not self.quiet and self.bars is None:
            print(text, file=sys.stderr, flush=True)
