"""Stages and plans: what a suite expands to and an engine executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)`; cheap enough to call at every step."""


@dataclass(frozen=True)
class Stage:
    """One pure function call: `kind` applied to `params` and the results of `inputs`.

    `params` is JSON data and enters the key. `inputs` maps a role to another stage's id.
    `local` holds what a stage needs on this machine but does not depend on, such as the path
    of a folder whose content hash is in `params`; it stays out of the key.
    """

    id: str
    kind: str
    params: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Stages in topological order, and the id of the stage that holds the final tables."""

    name: str
    stages: tuple[Stage, ...]
    final: str


@dataclass(frozen=True)
class Context:
    """What a running stage gets.

    `inputs` maps a role to the finished store entry's folder. `output` is a temporary folder
    that becomes the store entry. `scratch` survives a kill (checkpoints live there) and is
    removed once the stage is finished.
    """

    stage: Stage
    inputs: Mapping[str, Path]
    output: Path
    scratch: Path
    progress: Progress
