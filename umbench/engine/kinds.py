"""What a stage kind is: a module with a `run` function, and the source that it depends on."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from umbench.pipeline import Context


@dataclass(frozen=True)
class Kind:
    """`module` has `run(context) -> dict | None`; the source of `sources` enters the key."""

    name: str
    module: str
    sources: tuple[str, ...]

    def function(self) -> Callable[[Context], dict[str, Any] | None]:
        """The function that does the work; imported here, so that planning stays light."""
        run: Callable[[Context], dict[str, Any] | None] = importlib.import_module(self.module).run
        return run
