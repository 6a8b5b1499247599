"""Which stages of a plan are in the store, and why the others are not."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umbench.engine.keys import canonical_json, code_hash, library_versions, stage_keys
from umbench.engine.kinds import Kind
from umbench.pipeline import Plan, Stage
from umbench.store import Store


@dataclass(frozen=True)
class Status:
    """Whether a stage's result is in the store, and if not, why."""

    stage: Stage
    key: str
    present: bool
    why: str


def facts(stage: Stage, keys: Mapping[str, str], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """All that a stage's key is made of."""
    return {
        "id": stage.id,
        "kind": stage.kind,
        "params": dict(stage.params),
        "inputs": {role: keys[id] for role, id in stage.inputs.items()},
        "code": code_hash(kinds[stage.kind].sources),
        "libraries": library_versions(),
    }


def remember(
    store: Store, stage: Stage, keys: Mapping[str, str], kinds: Mapping[str, Kind]
) -> None:
    """Keep what the stage of this id depended on, so that `status` can say what changed."""
    path = _last(store, stage)
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(canonical_json({**facts(stage, keys, kinds), "key": keys[stage.id]}))
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


def _last(store: Store, stage: Stage) -> Path:
    return store.root / "last" / f"{hashlib.sha256(stage.id.encode()).hexdigest()[:32]}.json"


def _why(stage: Stage, store: Store, keys: Mapping[str, str], kinds: Mapping[str, Kind]) -> str:
    try:
        last = json.loads(_last(store, stage).read_text())
    except (OSError, ValueError):
        return "never made"
    now = json.loads(canonical_json(facts(stage, keys, kinds)))
    if last["params"] != now["params"]:
        names = [k for k in now["params"] if last["params"].get(k) != now["params"][k]]
        return f"parameters changed: {', '.join(names)}"
    if last["code"] != now["code"]:
        return "code changed"
    if last["libraries"] != now["libraries"]:
        return "library versions changed"
    changed = [role for role, key in now["inputs"].items() if last["inputs"].get(role) != key]
    return f"input changed: {', '.join(changed)}" if changed else "removed or broken"
