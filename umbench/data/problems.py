"""Broken rules of a set, gathered into one line each."""

from __future__ import annotations

from umbench.errors import InputError

MOST_LINES = 20


class Problems:
    """What is wrong and where; the same mistake in many places becomes one line."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}

    def add(self, where: object, what: str) -> None:
        """Note a mistake: a file, row or key, and what is wrong with it and what to do."""
        self.places.setdefault(what, []).append(str(where))

    def stop(self) -> None:
        """InputError where there was a mistake."""
        lines = [
            f"{where[0]}{f' and {len(where) - 1} more' if where[1:] else ''}: {what}"
            for what, where in self.places.items()
        ]
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} more mistakes"]
        if lines:
            raise InputError("\n".join(lines))
