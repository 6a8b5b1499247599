"""What an engine tells while it works."""

from __future__ import annotations

from typing import Protocol


class Display(Protocol):
    """Shows how far a run is; stages are told by their labels."""

    def start(self, stages: int) -> None:
        """A run of so many stages begins, or has become one of so many."""

    def begin(self, label: str) -> None:
        """A stage begins; others may be under way."""

    def step(self, label: str, done: int, total: int, text: str) -> None:
        """A stage is so far."""

    def end(self, label: str) -> None:
        """A stage is finished."""

    def say(self, text: str) -> None:
        """A line for the log."""
