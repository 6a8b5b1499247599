"""Which stages of a plan are in the store, and why the others are not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from umbench.engine.keys import source_facts, stage_keys
from umbench.pipeline import Plan, Stage, canonical_json
from umbench.store import Store


@dataclass(frozen=True)
class Status:
    """Whether a stage's result is in the store, and if not, why."""

    stage: Stage
    label: str
    key: str
    present: bool
    why: str


def facts(stage: Stage, label: str, keys: Mapping[Stage, str]) -> dict[str, Any]:
    """All that a stage's key is made of, and what people call it."""
    params = stage.described()
    return {
        "id": label,
        "stage": params.pop("stage"),
        "params": params,
        "inputs": {path: keys[input] for path, input in stage.inputs.items()},
        **source_facts(stage),
    }


def remember(store: Store, facts: Mapping[str, Any], key: str) -> None:
    """Keep what the stage of this label depended on, so that `status` can say what changed."""
    store.note(_last(facts["id"]), canonical_json({**facts, "key": key}))


def status(plan: Plan, store: Store) -> list[Status]:
    """For each stage whether it is in the store and, if not, why not.

    An entry counts as there by its name and its own result.json; the content of its files is read,
    and checked, by the run that needs it.
    """
    keys = stage_keys(plan)
    rows = []
    for stage in plan.stages:
        label = plan.labels[stage]
        present = store.entry(keys[stage]) is not None
        why = "" if present else _why(facts(stage, label, keys), store)
        rows.append(Status(stage, label, keys[stage], present, why))
    return rows


def _last(label: str) -> str:
    return f"{hashlib.sha256(label.encode()).hexdigest()[:32]}.json"


def _remembered(label: str, store: Store) -> dict[str, Any] | None:
    """What `remember` kept of a stage; None where nothing of that shape is there."""
    try:
        last = json.loads(store.noted(_last(label)) or "")
    except (ValueError, RecursionError):
        return None
    shape = {"params": dict, "inputs": dict, "code": str, "libraries": dict, "sources": list}
    if not isinstance(last, dict):
        return None
    return last if all(isinstance(last.get(k), kind) for k, kind in shape.items()) else None


def _why(facts: Mapping[str, Any], store: Store) -> str:
    last = _remembered(facts["id"], store)
    if last is None:
        return "never made"
    now = json.loads(canonical_json(facts))
    changed = [path for path, key in now["inputs"].items() if last["inputs"].get(path) != key]
    # an input of another label is no parameter
    names = [n for n in _changes(last["params"], now["params"]) if n not in changed]
    if names:
        return f"parameters changed: {', '.join(names)}"
    if (last["code"], last["sources"]) != (now["code"], now["sources"]):
        return "code changed"
    if last["libraries"] != now["libraries"]:
        versions = _changes(last["libraries"], now["libraries"])
        return f"library versions changed: {', '.join(versions)}"
    return f"input changed: {', '.join(changed)}" if changed else "removed or broken"


def _changes(last: Any, now: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ, as in `part.width`."""
    if isinstance(last, dict) and isinstance(now, dict):
        for key in sorted(last.keys() | now.keys()):
            yield from _changes(last.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(last, list) and isinstance(now, list) and len(last) == len(now):
        for index, (a, b) in enumerate(zip(last, now, strict=True)):
            yield from _changes(a, b, f"{path}.{index}")
    elif last != now:
        yield path
