"""The local engine: run what is missing, in order, on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from umbench.engine.keys import canonical_json, code_hash, library_versions, stage_keys
from umbench.engine.kinds import Kind
from umbench.pipeline import Context, Plan, Stage
from umbench.store import Store


class Display(Protocol):
    """Shows how far a run is."""

    def start(self, stages: int) -> None:
        """A run of so many stages begins."""

    def stage(self, stage: Stage, index: int) -> None:
        """A stage begins."""

    def step(self, done: int, total: int, text: str) -> None:
        """A stage is so far."""

    def say(self, text: str) -> None:
        """A line for the log."""


@dataclass(frozen=True)
class Status:
    """Whether a stage's result is in the store, and if not, why."""

    stage: Stage
    key: str
    present: bool
    why: str


def execute(
    plan: Plan, store: Store, kinds: Mapping[str, Kind], display: Display
) -> dict[str, Path]:
    """Make the plan's final stage and what it needs; stage id -> entry folder.

    What is in the store is not made again, nor are inputs that only finished stages need.
    """
    keys = stage_keys(plan, kinds)
    missing = needed_stages(plan, store, keys)
    if missing:
        store.prepare()
    display.start(len(missing))
    for index, stage in enumerate(missing):
        display.stage(stage, index)
        key = keys[stage.id]
        with store.locked(key, lambda: display.say("waiting for another run that makes this")):
            if store.entry(key) is None:
                _make(stage, key, keys, store, kinds, display)
        _remember(store, stage, key, keys, kinds)
    return {s.id: e for s in plan.stages if (e := store.entry(keys[s.id])) is not None}


def needed_stages(plan: Plan, store: Store, keys: Mapping[str, str]) -> list[Stage]:
    """Stages to run, in order: those missing that the final one depends on."""
    by_id = {stage.id: stage for stage in plan.stages}
    wanted, queue = set(), [plan.final]
    while queue:
        id = queue.pop()
        if id in wanted or store.entry(keys[id]) is not None:
            continue
        wanted.add(id)
        queue += by_id[id].inputs.values()
    return [stage for stage in plan.stages if stage.id in wanted]


def _make(
    stage: Stage,
    key: str,
    keys: Mapping[str, str],
    store: Store,
    kinds: Mapping[str, Kind],
    display: Display,
) -> None:
    inputs = {}
    for role, id in stage.inputs.items():
        folder = store.entry(keys[id])
        if folder is None:
            raise RuntimeError(f"stage {stage.id}: input {id} vanished from the store")
        inputs[role] = folder
    scratch = store.scratch(key)
    started = time.monotonic()

    def make(folder: Path) -> dict[str, Any]:
        context = Context(stage, inputs, folder, scratch, display.step)
        measured = kinds[stage.kind].function()(context) or {}
        return {
            "measured": measured,
            "seconds": round(time.monotonic() - started, 3),
            **machine_facts(),
        }

    store.write(key, make, _facts(stage, keys, kinds))


def _facts(stage: Stage, keys: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    return {
        "id": stage.id,
        "kind": stage.kind,
        "params": dict(stage.params),
        "inputs": {role: keys[id] for role, id in stage.inputs.items()},
        "code": code_hash(kinds[stage.kind].sources),
        "libraries": library_versions(),
    }


def machine_facts() -> dict[str, Any]:
    """Device and peak memory (MiB) of this process so far; on a GPU, of the GPU too."""
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    facts: dict[str, Any] = {"device": "cpu", "peak_memory_mib": round(peak)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["device"] = torch.cuda.get_device_name()
        facts["peak_gpu_memory_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        torch.cuda.reset_peak_memory_stats()
    return facts


def _remember(
    store: Store, stage: Stage, key: str, keys: Mapping[str, str], kinds: Mapping[str, Kind]
) -> None:
    """Keep what the stage of this id depended on, so that `status` can say what changed."""
    import hashlib
    import os

    folder = store.root / "last"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(stage.id.encode()).hexdigest()[:32]}.json"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(canonical_json({**_facts(stage, keys, kinds), "key": key}))
    temporary.replace(path)


def status(plan: Plan, store: Store, kinds: Mapping[str, Kind]) -> list[Status]:
    """For each stage whether it is in the store and, if not, why not."""
    keys = stage_keys(plan, kinds)
    rows = []
    for stage in plan.stages:
        present = store.entry(keys[stage.id]) is not None
        why = "" if present else _why(stage, store, keys, kinds)
        rows.append(Status(stage, keys[stage.id], present, why))
    return rows


def _why(stage: Stage, store: Store, keys: Mapping[str, str], kinds: Mapping[str, Kind]) -> str:
    import hashlib
    import json

    path = store.root / "last" / f"{hashlib.sha256(stage.id.encode()).hexdigest()[:32]}.json"
    try:
        last = json.loads(path.read_text())
    except (OSError, ValueError):
        return "never made"
    now = json.loads(canonical_json(_facts(stage, keys, kinds)))
    if last["params"] != now["params"]:
        names = [k for k in now["params"] if last["params"].get(k) != now["params"][k]]
        return f"parameters changed: {', '.join(names)}"
    if last["code"] != now["code"]:
        return "code changed"
    if last["libraries"] != now["libraries"]:
        return "library versions changed"
    changed = [role for role, key in now["inputs"].items() if last["inputs"].get(role) != key]
    return f"input changed: {', '.join(changed)}" if changed else "removed or broken"
