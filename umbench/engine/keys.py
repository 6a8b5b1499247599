"""Keys: SHA-256 over kind, parameters, inputs' keys and the source that does the work.

An edit of that source gives new keys, so the store never serves a stale value. Nothing is
imported to compute a key.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from umbench.engine.kinds import Kind
from umbench.pipeline import Plan

LIBRARIES = ("torch", "numpy", "scipy", "scikit-image", "monai", "timm")
HASHED = (".py", ".j2")


def stage_keys(plan: Plan, kinds: Mapping[str, Kind]) -> dict[str, str]:
    """Stage id -> key, for every stage of a plan."""
    keys: dict[str, str] = {}
    for stage in plan.stages:
        content = {
            "kind": stage.kind,
            "params": stage.params,
            "inputs": {role: keys[id] for role, id in stage.inputs.items()},
            "code": code_hash(kinds[stage.kind].sources),
            "libraries": library_versions(),
        }
        keys[stage.id] = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    return keys


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on; "" where one is not installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


@functools.cache
def code_hash(sources: tuple[str, ...]) -> str:
    """Hash of the source files of modules and packages."""
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(_source_hash(name).encode())
    return digest.hexdigest()


@functools.cache
def _source_hash(name: str) -> str:
    root = _location(name)
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix in HASHED)
    digest = hashlib.sha256(name.encode())
    for path in files:
        digest.update(path.relative_to(root.parent).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _location(name: str) -> Path:
    """The file of a module or the folder of a package, found without importing it."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"stage source {name} is not installed")
    path = Path(spec.origin).parent.joinpath(*rest)
    return path if path.is_dir() else path.with_suffix(".py")
