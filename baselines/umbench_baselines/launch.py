"""One process per GPU, all training together.

Workers find each other by the environment variables that torch.distributed and accelerate read.
None outlives the process that started it, and the first error ends them all.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch import distributed, multiprocessing

from umbench_baselines.training import Devices

VARIABLE = "UMBENCH_PROCESSES"
HOST = "127.0.0.1"

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)`."""


@dataclass(frozen=True)
class _Failure:
    """What a worker sends when its job raises."""

    error: Exception
    trace: str


def device_processes() -> int:
    """How many processes train one network: one per visible GPU, 1 where there is none.

    The environment variable UMBENCH_PROCESSES overrides it, on a CPU too. ValueError where that
    is no positive integer, or more than there are GPUs.
    """
    gpus = torch.cuda.device_count()
    text = os.environ.get(VARIABLE)
    if text is None:
        return max(1, gpus)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a positive integer")
    if gpus and int(text) > gpus:
        raise ValueError(f"{VARIABLE} is {text}; visible GPUs: {gpus}, and each takes one process")
    return int(text)


def place() -> tuple[int, int]:
    """Number of this process among those that `launch` started, and how many there are."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def launch(
    job: Callable[..., None], arguments: tuple[Any, ...], processes: int, progress: Progress
) -> None:
    """Call `job(*arguments, progress)` in `processes` processes at once; return when all are done.

    With one process the job is called here. Else the job and its arguments are pickled, each
    worker gets its share of this process's threads, and `progress` hears of the first worker's
    steps. An exception in a worker is raised here as it is; RuntimeError where a worker dies. In
    both cases, and where `progress` raises, all workers are ended first.
    """
    if processes == 1:
        job(*arguments, progress)
        return
    spawn = multiprocessing.get_context("spawn")
    port, threads = _free_port(), max(1, torch.get_num_threads() // processes)
    workers: dict[Connection, BaseProcess] = {}
    worker: BaseProcess
    try:
        for rank in range(processes):
            where = {
                "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes,
                "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": HOST, "MASTER_PORT": port,
                "OMP_NUM_THREADS": threads,
            }  # fmt: skip
            here, there = spawn.Pipe(duplex=False)
            worker = spawn.Process(
                target=_work, args=(there, where, job, arguments), name=f"{rank}", daemon=True
            )
            worker.start()
            # The worker's end is now its own: the pipe closes when the worker ends.
            there.close()
            workers[here] = worker
        _follow(workers, progress)
    finally:
        for worker in workers.values():
            worker.kill()
        for connection, worker in workers.items():
            worker.join()
            connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _follow(workers: dict[Connection, BaseProcess], progress: Progress) -> None:
    """Pass on what workers report until all have ended; raise what ended one too early."""
    running = dict(workers)
    while running:
        ready = wait(list(running))
        for connection in [c for c in running if c in ready]:
            try:
                report = connection.recv()
            except (EOFError, OSError):
                running.pop(connection).join()
                _raise_for_dead(workers)
                continue
            if isinstance(report, _Failure):
                # Others fail when one dies; that one is the reason.
                _raise_for_dead(workers)
                raise report.error from RuntimeError(report.trace)
            progress(*report)


def _raise_for_dead(workers: dict[Connection, BaseProcess]) -> None:
    """RuntimeError where a worker ended by anything but the end of its job."""
    for worker in workers.values():
        if worker.exitcode:
            raise RuntimeError(
                f"training process {worker.name} of {len(workers)} ended with status "
                f"{worker.exitcode} (-9: killed, often for want of memory)"
            )


def _work(
    connection: Connection,
    where: dict[str, int | str],
    job: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    """A worker's life: take its place, do the job, report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it ends it
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ.update({name: str(value) for name, value in where.items()})
    torch.set_num_threads(int(where["OMP_NUM_THREADS"]))

    def report(done: int, total: int, text: str) -> None:
        if where["RANK"] == 0:
            connection.send((done, total, text))

    try:
        job(*arguments, report)
        if distributed.is_initialized():
            # Nobody leaves while another one may still need the group.
            Devices().accelerator.wait_for_everyone()
            distributed.destroy_process_group()
    except Exception as error:
        connection.send(_Failure(portable(error), traceback.format_exc()))
        # Leaving now would make the others fail too, with errors that say less.
        end_with_parent()


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, then end at once."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def portable(error: Exception) -> Exception:
    """The error as it is where it survives pickling, else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
