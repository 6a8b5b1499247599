"""Stages that write texts, for tests of keys, engines and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from umbench.pipeline import LOCAL, Plan, Resources, Stage


@dataclass(frozen=True)
class Act:
    """What a stage does besides: sleep so many seconds, fail, die, spoil a text of the store once.

    spoil: a marker file, the store's entries, the text.
    """

    sleep: float = 0
    fail: bool = False
    die: bool = False
    spoil: tuple[str, str, str] | None = None


@dataclass(frozen=True, eq=False)
class Text(Stage):
    """Its inputs' texts, sorted, and then its own name."""

    RUN: ClassVar[str] = "planted_work"
    name: str
    takes: Mapping[str, Text] = field(default_factory=dict)
    times: int = 1
    act: Act = field(default=Act(), metadata=LOCAL)
    gpu: bool = field(default=False, metadata=LOCAL)

    @property
    def label(self) -> str:
        return self.name

    @property
    def resources(self) -> Resources:
        return Resources(gpu=self.gpu)


DIAMOND: Mapping[str, tuple[str, ...]] = {
    "top": (), "left": ("top",), "right": ("top",), "bottom": ("left", "right"),
}  # fmt: skip


def texts(
    shape: Mapping[str, tuple[str, ...]] = DIAMOND, **fields: Mapping[str, Any]
) -> dict[str, Text]:
    """A stage per name, each with its inputs; fields by name."""
    made: dict[str, Text] = {}
    for name, inputs in shape.items():
        takes = {f"in {input}": made[input] for input in inputs}
        made[name] = Text(name, takes, **fields.get(name, {}))
    return made


def plan(
    shape: Mapping[str, tuple[str, ...]] = DIAMOND, final: str = "bottom", **fields: Any
) -> Plan:
    """A plan whose last stage is `final`."""
    return Plan("planted", texts(shape, **fields)[final])
