"""Stages and plans: what a suite expands to and an engine executes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, text)`; cheap enough to call at every step."""

LOCAL: Mapping[str, Any] = {"local": True}
"""Metadata of a field that a stage needs on this machine but does not depend on, such as the path
of a folder whose content is named by another field; it stays out of keys and comparisons."""


@dataclass(frozen=True)
class Resources:
    """What making a stage takes: whether it computes on GPUs, where there are any."""

    gpu: bool = False


@dataclass(frozen=True, eq=False)
class Stage:
    """One pure function call: the fields are its parameters and the stages that it takes in.

    A subclass is a frozen dataclass with `eq=False`; its fields are scalars, tuples, mappings,
    frozen dataclasses and pydantic models, and stages at any depth among them. Stages with the
    same fields are equal. `RUN` names the module whose `run(context)` does the work, which is
    imported by those who make it: stages themselves are light.
    """

    RUN: ClassVar[str]
    resources: ClassVar[Resources] = Resources()

    @property
    def label(self) -> str:
        """What people call it; a plan makes labels unique."""
        raise NotImplementedError

    @property
    def sources(self) -> tuple[str, ...]:
        """Modules whose source, with all that they import, decides what the stage makes."""
        return (self.RUN,)

    @cached_property
    def inputs(self) -> Mapping[str, Stage]:
        """Stages among the fields, by where they stand, as in `rows.0.samples`."""
        return dict(_stages_in(_values(self), ""))

    @cached_property
    def digest(self) -> str:
        """Hash of class, fields and inputs: what makes two stages equal."""
        return hashlib.sha256(
            canonical_json(self.described(lambda s: s.digest)).encode()
        ).hexdigest()

    def described(self, stage: Callable[[Stage], Any] = lambda s: s.label) -> dict[str, Any]:
        """The fields as JSON; `stage` gives what stands for each stage among them."""
        return {"stage": _kind(self), **_plain(_values(self), stage)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stage) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def canonical_json(value: Any) -> str:
    """JSON with one spelling per value; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _values(value: Any) -> dict[str, Any]:
    """Fields of a dataclass that count."""
    return {f.name: getattr(value, f.name) for f in fields(value) if not f.metadata.get("local")}


def _kind(value: Any) -> str:
    """A class by its full name: those of two packages may be called the same."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _plain(value: Any, stage: Callable[[Stage], Any]) -> Any:
    if isinstance(value, Stage):
        return stage(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {"is": _kind(value), **_plain(_values(value), stage)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, stage) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner, stage) for inner in value]
    if hasattr(value, "model_dump"):
        return {"is": _kind(value), **value.model_dump(mode="json")}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a stage cannot hold {type(value).__name__}")


def _stages_in(value: Any, path: str) -> Iterator[tuple[str, Stage]]:
    if isinstance(value, Stage):
        yield path, value
        return
    if is_dataclass(value) and not isinstance(value, type):
        value = _values(value)
    if isinstance(value, (tuple, list)):
        value = {str(index): inner for index, inner in enumerate(value)}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _stages_in(inner, f"{path}.{key}" if path else str(key))


@dataclass(frozen=True)
class Plan:
    """The stage that holds the final tables, and with it all that it depends on."""

    name: str
    final: Stage

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Every stage once, inputs before those that take them in."""
        found: dict[Stage, None] = {}
        stack: list[tuple[Stage, bool]] = [(self.final, False)]
        while stack:
            stage, ready = stack.pop()
            if ready:
                found.setdefault(stage)
            elif stage not in found:
                stack.append((stage, True))
                stack += [(input, False) for input in reversed(tuple(stage.inputs.values()))]
        return tuple(found)

    @cached_property
    def labels(self) -> Mapping[Stage, str]:
        """A name for each stage that no other one has."""
        by_label: dict[str, list[Stage]] = {}
        for stage in self.stages:
            by_label.setdefault(stage.label, []).append(stage)
        return {
            stage: label if len(same) == 1 else f"{label} [{stage.digest[:8]}]"
            for label, same in by_label.items()
            for stage in same
        }


S = TypeVar("S", bound=Stage, covariant=True)


def _unheard(done: int, total: int, text: str) -> None:
    pass


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a running stage gets.

    `folders` holds the finished store entry of each input. `output` is a temporary folder that
    becomes the store entry. `scratch` survives a kill (checkpoints live there) and is removed once
    the stage is finished.
    """

    stage: S
    folders: Mapping[Stage, Path]
    output: Path
    scratch: Path
    progress: Progress = _unheard

    def folder(self, stage: Stage) -> Path:
        """The finished entry of one of the stage's inputs."""
        return self.folders[stage]

    def silent(self) -> Context[S]:
        """The same for another process, which reports on its own."""
        return replace(self, progress=_unheard)
