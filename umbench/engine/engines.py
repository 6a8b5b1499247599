"""Engines by name, and what they are asked to do: make what is on a run's agenda."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from umbench.engine.agenda import Agenda
from umbench.engine.display import Display
from umbench.engine.keys import stage_keys
from umbench.errors import InputError
from umbench.pipeline import Plan, Stage
from umbench.store import Store

ENTRY_POINTS = "umbench.engines"
BUILT_IN = {"local": "umbench.engine.local:Local"}


class Engine(Protocol):
    """Makes stages here or elsewhere. One from outside is registered under `umbench.engines`."""

    def run(self, agenda: Agenda, store: Store, display: Display, workers: int | None) -> None:
        """Take jobs from the agenda, `make` each, and say so, until the agenda is finished.

        workers: how many at a time; None where the engine may choose.
        """


def engine_names() -> list[str]:
    """Names that `--engine` takes, those of plug-ins included."""
    return [*BUILT_IN, *sorted(point.name for point in entry_points(group=ENTRY_POINTS))]


def get_engine(name: str) -> Engine:
    """The engine called `name`; InputError names the nearest one where there is none."""
    plugged = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    for taken in BUILT_IN.keys() & plugged.keys():
        raise InputError(
            f"engine {taken!r} is built in, but {plugged[taken].value} is registered under its "
            f"name in {ENTRY_POINTS}; rename or uninstall that plug-in"
        )
    if name in plugged:
        engine: Engine = plugged[name].load()()
    elif name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        engine = getattr(importlib.import_module(module), attribute)()
    else:
        from umbench.data.documents import nearest

        raise InputError(f"--engine: no engine {name!r}; {nearest(name, engine_names())}")
    return engine


def execute(
    plan: Plan,
    store: Store,
    display: Display,
    engine: Engine | None = None,
    workers: int | None = None,
) -> dict[Stage, Path]:
    """Make the plan's final stage and what it needs; the entry folder of each stage that is there.

    What is in the store is not made again, nor are inputs that only finished stages need. What is
    read of the store is checked first, and made anew where it is broken. engine: local by default.
    """
    keys = stage_keys(plan)
    agenda = Agenda(plan, store, keys, display.start)
    if not agenda.finished:
        store.prepare()
        (engine or get_engine("local")).run(agenda, store, display, workers)
    return {s: e for s in plan.stages if (e := store.entry(keys[s])) is not None}
