"""Keys: SHA-256 over a stage's class and fields, its inputs' keys and the source that it runs.

An edit of that source gives new keys, so the store never serves a stale value; an edit of any
other source gives the same ones.
"""

from __future__ import annotations

import hashlib
from typing import Any

from umbench.engine.sources import closure, distribution_version
from umbench.pipeline import Plan, Stage, canonical_json

SHOWN = ("torch", "numpy", "scipy", "skimage", "monai", "timm")


def stage_keys(plan: Plan) -> dict[Stage, str]:
    """The key of every stage of a plan."""
    keys: dict[Stage, str] = {}
    for stage in plan.stages:
        content = {"value": stage.described(keys.__getitem__), **source_facts(stage)}
        keys[stage] = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    return keys


def source_facts(stage: Stage) -> dict[str, Any]:
    """What of a stage's key its source makes: modules, their hash, versions of distributions."""
    found = closure(tuple(sorted(set(stage.sources))))
    return {
        "sources": sorted(set(stage.sources)),
        "code": found.code,
        "libraries": dict(found.versions),
    }


def library_versions() -> dict[str, str]:
    """Versions of the libraries that most results depend on, for people; "" where there is none."""
    return dict(map(distribution_version, SHOWN))
