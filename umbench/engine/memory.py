"""How much memory a stage takes: what its processes hold for themselves, at the peak.

Maps of files are left out: the system drops their pages when it needs the room, and processes
share them.
"""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

SECONDS = 0.05
"""Between two looks; a peak that is shorter is missed."""


class PeakMemory:
    """Watches this process and those that it starts; a context manager.

    largest: MiB of the process that held most, at its peak; all: of all together at one moment.
    """

    def __init__(self) -> None:
        self.largest, self.all = 0.0, 0.0
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._look()
        self._watcher.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._watcher.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(SECONDS):
            self._look()

    def _look(self) -> None:
        held = [private_mib(process) for process in family(os.getpid())]
        self.largest = max(self.largest, *held)
        self.all = max(self.all, sum(held))


def family(process: int) -> list[int]:
    """A process and all that it started, where the system tells (Linux); else itself."""
    found = [process]
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += family(int(child))
        except OSError:
            continue
    return found


def private_mib(process: int) -> float:
    """MiB of a process that are no file's; without /proc, what this process held at its peak."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        import resource
        import sys

        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
        return peak if process == os.getpid() else 0.0
    found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0
