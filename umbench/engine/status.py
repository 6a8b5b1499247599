"""Which stages of a plan are in the store, and why the others are not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    store.note(_last(stage), canonical_json({**facts(stage, keys, kinds), "key": keys[stage.id]}))


def status(plan: Plan, store: Store, kinds: Mapping[str, Kind]) -> list[Status]:
    """For each stage whether it is in the store and, if not, why not.

    An entry counts as there by its name and its own result.json; the content of its files is read,
    and checked, by the run that needs it.
    """
    keys = stage_keys(plan, kinds)
    rows = []
    for stage in plan.stages:
        present = store.entry(keys[stage.id]) is not None
        why = "" if present else _why(stage, store, keys, kinds)
        rows.append(Status(stage, keys[stage.id], present, why))
    return rows


def _last(stage: Stage) -> str:
    return f"{hashlib.sha256(stage.id.encode()).hexdigest()[:32]}.json"


def _remembered(stage: Stage, store: Store) -> dict[str, Any] | None:
    """What `remember` kept of a stage; None where nothing of that shape is there."""
    try:
        last = json.loads(store.noted(_last(stage)) or "")
    except (ValueError, RecursionError):
        return None
    shape = {"params": dict, "inputs": dict, "code": str, "libraries": dict}
    if not isinstance(last, dict):
        return None
    return last if all(isinstance(last.get(k), kind) for k, kind in shape.items()) else None


def _why(stage: Stage, store: Store, keys: Mapping[str, str], kinds: Mapping[str, Kind]) -> str:
    last = _remembered(stage, store)
    if last is None:
        return "never made"
    now = json.loads(canonical_json(facts(stage, keys, kinds)))
    if last["params"] != now["params"]:
        both = {**now["params"], **last["params"]}
        names = [k for k in both if last["params"].get(k) != now["params"].get(k)]
        return f"parameters changed: {', '.join(names)}"
    if last["code"] != now["code"]:
        return "code changed"
    if last["libraries"] != now["libraries"]:
        return "library versions changed"
    changed = [role for role, key in now["inputs"].items() if last["inputs"].get(role) != key]
    return f"input changed: {', '.join(changed)}" if changed else "removed or broken"
