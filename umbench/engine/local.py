"""The local engine: this machine, several stages at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from umbench.engine.agenda import Agenda
from umbench.engine.display import Display
from umbench.engine.make import make
from umbench.store import Store

MOST_WORKERS = 4
GPU_WORKERS = 2


class Local:
    """Makes stages in this process, or with several workers in processes of their own."""

    def run(self, agenda: Agenda, store: Store, display: Display, workers: int | None) -> None:
        """Make all on the agenda; see `Engine`."""
        count, threads = workers or default_workers(), threads_per_stage()
        if count == 1:
            _one_by_one(agenda, store, display, threads)
            return
        from umbench.engine.pool import run_side_by_side

        run_side_by_side(agenda, store, display, count, threads, one_on_gpu=has_gpu())


def has_gpu() -> bool:
    """Whether stages can compute on a GPU here."""
    import torch

    return bool(torch.cuda.is_available())


def default_workers() -> int:
    """Where there is a GPU one stage that has it and one beside it; else one per core, at most 4.

    Small convolutions gain little from a second thread, so two stages of one thread each are
    done sooner than one after the other with two.
    """
    return GPU_WORKERS if has_gpu() else min(os.cpu_count() or 1, MOST_WORKERS)


def threads_per_stage() -> int:
    """What a stage computes with on this machine, however many stages run beside it.

    Sums over pixels are cut into as many parts as there are threads, so that another number
    gives other last digits: a stage that is made anew alone must give what it gave in company.
    """
    return max(1, (os.cpu_count() or 1) // default_workers())


def _one_by_one(agenda: Agenda, store: Store, display: Display, threads: int) -> None:
    with _threads(threads):
        while (job := agenda.take()) is not None:
            label = job.label
            display.begin(label)

            def step(done: int, total: int, text: str, label: str = label) -> None:
                display.step(label, done, total, text)

            make(job, store, step, display.say)
            agenda.done(job)
            display.end(label)


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
