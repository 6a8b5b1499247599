"""From a suite to its run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbench.engine.engines import Engine
    from umbench.suite.schema import Suite


def run_suite(
    suite: Suite,
    store: Path,
    folder: Path,
    *,
    engine: Engine | None = None,
    quiet: bool = True,
    workers: int | None = None,
) -> Path:
    """Make all that a suite asks for and lay it out in `folder`, which is returned.

    store: where results are kept; what is there is not made again. engine: local by default.
    workers: stages at a time. InputError, before any work, for what cannot be done.
    """
    from umbench.cli.progress import RunDisplay
    from umbench.engine.engines import execute
    from umbench.runfolder import fill, prepare
    from umbench.store import Store
    from umbench.suite.plan import build_plan

    plan = build_plan(suite)
    prepare(folder)
    with RunDisplay(suite.name, quiet=quiet, log=folder / "run.log") as display:
        entries = execute(plan, Store(store), display, engine, workers)
    fill(folder, suite, plan, entries)
    return folder
