"""Make one stage: what every engine calls, in whatever process and on whatever host."""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbench.engine.memory import PeakMemory
from umbench.engine.status import facts, remember
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context, Plan, Progress, Stage
from umbench.store import Store

CURVES = "tensorboard"
"""Folder of losses and sample grids that a training leaves beside its checkpoints."""


@dataclass(frozen=True)
class Job:
    """A stage to be made, with all that is needed to make it elsewhere; it can be pickled.

    inputs: the key of each input. facts: what its key is made of, for result.json.
    """

    stage: Stage
    label: str
    key: str
    inputs: Mapping[Stage, str]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, stage: Stage, plan: Plan, keys: Mapping[Stage, str]) -> Job:
        """The job of one of a plan's stages."""
        label = plan.labels[stage]
        inputs = {input: keys[input] for input in stage.inputs.values()}
        return cls(stage, label, keys[stage], inputs, facts(stage, label, keys))


def make(job: Job, store: Store, progress: Progress, say: Callable[[str], None]) -> None:
    """Make one stage, unless another run that shares the store has made it meanwhile.

    A broken entry is set aside first, and `say` told what was broken.
    """

    def waiting(holder: str) -> None:
        say(f"{job.label}: waiting for {holder or 'another run'}, which makes this")

    with store.locked(job.key, waiting):
        broken = store.clear(job.key)
        if broken is not None:
            say(f"{job.label}: {broken}; it is made anew")
        if store.entry(job.key) is None:
            _make(job, store, progress)
    remember(store, job.facts, job.key)


def _make(job: Job, store: Store, progress: Progress) -> None:
    folders = {}
    for input, key in job.inputs.items():
        folder = store.entry(key)
        if folder is None:
            raise NotMeasuredError(
                f"stage {job.label}: its input {input.label} vanished from {store.root} "
                "meanwhile; run the same command again"
            )
        folders[input] = folder
    scratch = store.scratch(job.key)
    started = time.monotonic()

    def fill(output: Path) -> dict[str, Any]:
        context = Context(job.stage, folders, output, scratch, progress)
        with PeakMemory() as peak:
            measured = importlib.import_module(job.stage.RUN).run(context) or {}
        if (scratch / CURVES).is_dir():
            shutil.copytree(scratch / CURVES, output / CURVES)
        seconds = round(time.monotonic() - started, 3)
        return {"measured": measured, "seconds": seconds, **_machine(peak)}

    store.write(job.key, fill, dict(job.facts))


def _machine(peak: PeakMemory) -> dict[str, Any]:
    """Device, threads and peak memory (MiB), maps of files left out; of the GPU if it was used."""
    found: dict[str, Any] = {"device": "cpu", "peak_memory_mib": round(peak.largest)}
    if peak.all > peak.largest:
        found["peak_memory_of_all_processes_mib"] = round(peak.all)
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
    if torch is not None and torch.cuda.is_initialized():
        found["device"] = torch.cuda.get_device_name()
        found["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        torch.cuda.reset_peak_memory_stats()
    return found
