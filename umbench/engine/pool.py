"""Several stages side by side, each in a process of its own with its own threads.

Processes live as long as the run, so that libraries are imported once in each. They end by
themselves when the run is killed, by force too: checkpoints and whole entries are what is left.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umbench.engine.agenda import Agenda
from umbench.engine.kinds import Kind
from umbench.errors import NotMeasuredError
from umbench.pipeline import Stage
from umbench.store import Store

if TYPE_CHECKING:
    from umbench.engine.local import Display

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REPORT_SECONDS = 0.2


@dataclass
class _Worker:
    process: Any
    connection: Connection
    stage: Stage | None = None


def run_side_by_side(
    agenda: Agenda,
    keys: Mapping[str, str],
    store: Store,
    kinds: Mapping[str, Kind],
    display: Display,
    workers: int,
    threads: int,
) -> None:
    """Make what is on the agenda, `workers` stages at a time with so many `threads` each.

    The first error ends all workers and is raised here.
    """
    team: list[_Worker] = []
    with _ended_at_last(team):
        while not agenda.finished:
            while len(team) < min(workers, len(agenda)):  # it grows where an entry is broken
                team.append(_started(keys, store, kinds, threads))
            for worker in team:
                if worker.stage is None:
                    _hand_over(worker, agenda.take(), display)
            connections = {worker.connection: worker for worker in team}
            for connection in wait(list(connections)):
                worker = connections[connection]  # type: ignore[index]
                finished = _listen(worker, display)
                if finished is not None:
                    agenda.done(finished)


def _hand_over(worker: _Worker, stage: Stage | None, display: Display) -> None:
    if stage is not None:
        worker.stage = stage
        display.begin(stage)
        worker.connection.send(stage)


def _listen(worker: _Worker, display: Display) -> Stage | None:
    """Take one message; the stage that it says is finished."""
    stage = worker.stage
    try:
        kind, content = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        what = f"stage {stage.id}: " if stage is not None else ""
        raise NotMeasuredError(
            f"{what}its process ended with status {worker.process.exitcode} (-9: killed, often "
            "for want of memory); run the same command again, with --workers 1 to need less"
        ) from None
    if kind == "failed":
        raise content
    if kind == "say":
        display.say(content)
    elif stage is not None and kind == "step":
        display.step(stage, *content)
    elif stage is not None and kind == "done":
        display.end(stage)
        worker.stage = None
        return stage
    return None


def _started(
    keys: Mapping[str, str], store: Store, kinds: Mapping[str, Kind], threads: int
) -> _Worker:
    """A process that waits for stages."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        arguments = (there, dict(keys), store.root, dict(kinds), threads)
        process = spawn.Process(target=_work, args=arguments)
        process.start()
    there.close()
    return _Worker(process, here)


@contextlib.contextmanager
def _ended_at_last(team: list[_Worker]) -> Iterator[None]:
    """No process of the team is left when the block ends, however it ends."""
    try:
        yield
    finally:
        for worker in team:
            worker.connection.close()
            if worker.stage is not None:
                worker.process.kill()
        for worker in team:
            worker.process.join()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a process that is started inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _work(
    connection: Connection,
    keys: Mapping[str, str],
    root: Path,
    kinds: Mapping[str, Kind],
    threads: int,
) -> None:
    """A worker's life: make one stage after the other until the run closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends its workers itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    from umbench.engine.local import make

    torch.set_num_threads(threads)
    store = Store(root)

    def say(text: str) -> None:
        connection.send(("say", text))

    while True:
        try:
            stage = connection.recv()
        except (EOFError, OSError):
            return
        try:
            make(stage, keys, store, kinds, _reporter(connection), say)
        except Exception as error:
            connection.send(("failed", _sendable(error)))
        else:
            connection.send(("done", None))


def _reporter(connection: Connection) -> Any:
    """Progress that is sent on a few times a second at most."""
    last = 0.0

    def report(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > REPORT_SECONDS:
            last = now
            connection.send(("step", (done, total, text)))

    return report


def _sendable(error: Exception) -> Exception:
    """The error as it is where it survives the way, else one that keeps its text."""
    import pickle

    error.add_note(_trace(error)) if hasattr(error, "add_note") else None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(_trace(error))
    return error


def _trace(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
