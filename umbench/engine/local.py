"""The local engine: run what is missing on this machine, several stages at once on a CPU."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from umbench.engine.agenda import Agenda
from umbench.engine.keys import stage_keys
from umbench.engine.kinds import Kind
from umbench.engine.memory import PeakMemory
from umbench.engine.status import facts, remember
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context, Plan, Progress, Stage
from umbench.store import Store

MOST_WORKERS = 4
CURVES = "tensorboard"
"""Folder of losses and sample grids that a training leaves beside its checkpoints."""


class Display(Protocol):
    """Shows how far a run is."""

    def start(self, stages: int) -> None:
        """A run of so many stages begins."""

    def begin(self, stage: Stage) -> None:
        """A stage begins; others may be under way."""

    def step(self, stage: Stage, done: int, total: int, text: str) -> None:
        """A stage is so far."""

    def end(self, stage: Stage) -> None:
        """A stage is finished."""

    def say(self, text: str) -> None:
        """A line for the log."""


def execute(
    plan: Plan,
    store: Store,
    kinds: Mapping[str, Kind],
    display: Display,
    workers: int | None = None,
) -> dict[str, Path]:
    """Make the plan's final stage and what it needs; stage id -> entry folder.

    What is in the store is not made again, nor are inputs that only finished stages need. What is
    read of the store is checked first, and made anew where it is broken. With several workers
    independent stages run side by side in processes of their own.
    """
    keys = stage_keys(plan, kinds)
    agenda = Agenda(plan, store, keys, display.start)
    if not agenda.finished:
        store.prepare()
        _run(agenda, keys, store, kinds, display, workers or default_workers())
    return {s.id: e for s in plan.stages if (e := store.entry(keys[s.id])) is not None}


def default_workers() -> int:
    """One where there is a GPU, which a stage has for itself; else one per core, at most four.

    Small convolutions gain little from a second thread, so two stages of one thread each are
    done sooner than one after the other with two.
    """
    import torch

    return 1 if torch.cuda.is_available() else min(os.cpu_count() or 1, MOST_WORKERS)


def threads_per_stage() -> int:
    """What a stage computes with on this machine, however many stages run beside it.

    Sums over pixels are cut into as many parts as there are threads, so that another number
    gives other last digits: a stage that is made anew alone must give what it gave in company.
    """
    return max(1, (os.cpu_count() or 1) // default_workers())


def _run(
    agenda: Agenda,
    keys: Mapping[str, str],
    store: Store,
    kinds: Mapping[str, Kind],
    display: Display,
    workers: int,
) -> None:
    if workers > 1:
        from umbench.engine.pool import run_side_by_side

        run_side_by_side(agenda, keys, store, kinds, display, workers, threads_per_stage())
        return
    with _threads(threads_per_stage()):
        while (stage := agenda.take()) is not None:
            display.begin(stage)

            def step(done: int, total: int, text: str, stage: Stage = stage) -> None:
                display.step(stage, done, total, text)

            make(stage, keys, store, kinds, step, display.say)
            agenda.done(stage)
            display.end(stage)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads inside the block, in torch and in numpy's linear algebra."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def make(
    stage: Stage,
    keys: Mapping[str, str],
    store: Store,
    kinds: Mapping[str, Kind],
    progress: Progress,
    say: Any,
) -> None:
    """Make one stage, unless another run that shares the store has made it meanwhile.

    A broken entry is set aside first, and `say` told what was broken.
    """
    key = keys[stage.id]

    def waiting(holder: str) -> None:
        say(f"{stage.id}: waiting for {holder or 'another run'}, which makes this")

    with store.locked(key, waiting):
        broken = store.clear(key)
        if broken is not None:
            say(f"{stage.id}: {broken}; it is made anew")
        if store.entry(key) is None:
            _make(stage, key, keys, store, kinds, progress)
    remember(store, stage, keys, kinds)


def _make(
    stage: Stage,
    key: str,
    keys: Mapping[str, str],
    store: Store,
    kinds: Mapping[str, Kind],
    progress: Progress,
) -> None:
    inputs = {}
    for role, id in stage.inputs.items():
        folder = store.entry(keys[id])
        if folder is None:
            raise NotMeasuredError(
                f"stage {stage.id}: its input {id} vanished from {store.root} meanwhile; run the "
                "same command again"
            )
        inputs[role] = folder
    scratch = store.scratch(key)
    started = time.monotonic()

    def fill(folder: Path) -> dict[str, Any]:
        context = Context(stage, inputs, folder, scratch, progress)
        with PeakMemory() as peak:
            measured = kinds[stage.kind].function()(context) or {}
        if (scratch / CURVES).is_dir():
            shutil.copytree(scratch / CURVES, folder / CURVES)
        seconds = round(time.monotonic() - started, 3)
        return {"measured": measured, "seconds": seconds, **machine_facts(peak)}

    store.write(key, fill, facts(stage, keys, kinds))


def machine_facts(peak: PeakMemory) -> dict[str, Any]:
    """Device, threads and peak memory (MiB), maps of files left out; of the GPU too."""
    found: dict[str, Any] = {"device": "cpu", "peak_memory_mib": round(peak.largest)}
    if peak.all > peak.largest:
        found["peak_memory_of_all_processes_mib"] = round(peak.all)
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
    if torch is not None and torch.cuda.is_available():
        found["device"] = torch.cuda.get_device_name()
        found["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        torch.cuda.reset_peak_memory_stats()
    return found
