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
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from umbench.engine.agenda import Agenda
from umbench.engine.display import Display
from umbench.engine.make import Job, make
from umbench.errors import NotMeasuredError
from umbench.store import Store

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REPORT_SECONDS = 0.2


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Job | None = None


def run_side_by_side(
    agenda: Agenda,
    store: Store,
    display: Display,
    workers: int,
    threads: int,
    *,
    one_on_gpu: bool,
) -> None:
    """Make what is on the agenda, `workers` stages at a time with so many `threads` each.

    one_on_gpu: of stages that compute on GPUs one at a time, which has them all for itself. The
    first error ends all workers and is raised here.
    """
    team: list[_Worker] = []
    with _ended_at_last(team):
        while not agenda.finished:
            while len(team) < min(workers, len(agenda)):  # it grows where an entry is broken
                team.append(_started(store, threads))
            for worker in team:
                if worker.job is None:
                    taken = one_on_gpu and any(w.job and w.job.stage.resources.gpu for w in team)
                    _hand_over(worker, agenda.take(gpu=not taken), display)
            connections = {worker.connection: worker for worker in team}
            for connection in wait(list(connections)):
                worker = connections[connection]  # type: ignore[index]
                finished = _listen(worker, display)
                if finished is not None:
                    agenda.done(finished)


def _hand_over(worker: _Worker, job: Job | None, display: Display) -> None:
    if job is not None:
        worker.job = job
        display.begin(job.label)
        worker.connection.send(job)


def _listen(worker: _Worker, display: Display) -> Job | None:
    """Take one message; the job that it says is finished."""
    job = worker.job
    try:
        kind, content = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        what = f"stage {job.label}: " if job is not None else ""
        raise NotMeasuredError(
            f"{what}its process ended with status {worker.process.exitcode} (-9: killed, often "
            "for want of memory); run the same command again, with --workers 1 to need less"
        ) from None
    if kind == "failed":
        raise content
    if kind == "say":
        display.say(content)
    elif job is not None and kind == "step":
        display.step(job.label, *content)
    elif job is not None and kind == "done":
        display.end(job.label)
        worker.job = None
        return job
    return None


def _started(store: Store, threads: int) -> _Worker:
    """A process that waits for stages."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    with _environment(dict.fromkeys(THREAD_VARIABLES, str(threads))):
        process = spawn.Process(target=_work, args=(there, store.root, threads))
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
            if worker.job is not None:
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


def _work(connection: Connection, root: Path, threads: int) -> None:
    """A worker's life: make one stage after the other until the run closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run ends its workers itself
    import torch
    from umbench_baselines.launch import end_with_parent, portable

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    store = Store(root)

    def say(text: str) -> None:
        connection.send(("say", text))

    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            make(job, store, _reporter(connection), say)
        except Exception as error:
            connection.send(("failed", _traced(portable(error), error)))
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


def _traced(sent: Exception, error: Exception) -> Exception:
    """With a note of where the error was raised, which does not survive the way."""
    if hasattr(sent, "add_note"):
        sent.add_note("".join(traceback.format_exception(error)))
    return sent
