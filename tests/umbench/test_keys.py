"""Keys: equal where all that they cover is equal, and else not; and `status` says what changed."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import pytest
from planted_stages import Act, Text, plan, texts

from umbench.engine import modules, sources
from umbench.engine.engines import execute
from umbench.engine.keys import stage_keys
from umbench.engine.status import status
from umbench.pipeline import Plan
from umbench.store import Store

Edit = Callable[[str, str], None]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Writes a module, and has everything that was read forgotten."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def forget() -> None:
        for cached in (sources.closure, modules.read_module, sources.distribution_version):
            cached.cache_clear()
        importlib.invalidate_caches()

    def edit(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        forget()

    yield edit
    forget()


@dataclass(frozen=True, eq=False)
class Painted(Text):
    """A text that a module of its own paints."""

    RUN: ClassVar[str] = "planted_work"
    painter: str = "painter_a"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.RUN, self.painter)


def painted(edit: Edit) -> Plan:
    """plain -> a (painter_a) -> end; plain -> b (painter_b), c (painter_b) -> end."""
    for name, text in {"painter_a": "import brush_a", "painter_b": "import brush_b",
                       "brush_a": "import paint", "brush_b": "import paint", "paint": "",
                       "unused": "import painter_a"}.items():  # fmt: skip
        edit(name, text)
    plain = Text("plain")
    made: dict[str, Text] = {
        name: Painted(name, {"on": plain}, painter=f"painter_{painter}")
        for name, painter in (("a", "a"), ("b", "b"), ("c", "b"))
    }
    return Plan("painted", Text("end", made))


def by_label(plan: Plan) -> dict[str, str]:
    return {plan.labels[stage]: key for stage, key in stage_keys(plan).items()}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {label for label, key in after.items() if before[label] != key}


EDITS = {"painter_a": {"a"}, "brush_a": {"a"}, "painter_b": {"b", "c"}, "brush_b": {"b", "c"},
         "paint": {"a", "b", "c"}, "unused": set()}  # fmt: skip


@pytest.mark.parametrize("module", EDITS)
def test_a_comment_changes_the_keys_of_those_whose_closure_holds_it(
    edit: Edit, tmp_path: Path, module: str
) -> None:
    """And of those who take their results in, which is `end`."""
    chosen = painted(edit)
    before = by_label(chosen)
    edit(module, (tmp_path / f"{module}.py").read_text() + "\n# a comment")
    after = by_label(chosen)
    readers = {"end"} if EDITS[module] else set()
    assert changed(before, after) == EDITS[module] | readers


def test_keys_follow_from_values() -> None:
    """Equal values have equal keys, wherever they were made; what is local does not count."""
    assert by_label(plan()) == by_label(plan())
    assert by_label(plan(left={"act": Act(sleep=1), "gpu": True})) == by_label(plan())
    assert changed(by_label(plan()), by_label(plan(left={"times": 2}))) == {"left", "bottom"}
    renamed = {**texts(), "bottom": Text("bottom", {"other": texts()["top"]})}
    assert by_label(Plan("planted", renamed["bottom"]))["bottom"] != by_label(plan())["bottom"]


def test_another_class_with_the_same_fields_is_another_stage() -> None:
    @dataclass(frozen=True, eq=False)
    class Other(Text):
        pass

    keys = stage_keys(Plan("planted", Text("end", {"a": Text("x"), "b": Other("x")})))
    assert len(set(keys.values())) == 3


def test_status_says_what_changed(edit: Edit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    chosen = painted(edit)

    def why(plan: Plan) -> dict[str, str]:
        return {row.label: row.why for row in status(plan, store)}

    assert set(why(chosen).values()) == {"never made"}
    execute(chosen, store, Silent(), workers=1)
    assert set(why(chosen).values()) == {""}
    edit("brush_b", "# another")
    found = why(chosen)
    assert found == {
        "plain": "", "a": "", "b": "code changed", "c": "code changed",
        "end": "input changed: takes.b, takes.c",
    }  # fmt: skip
    plain = Text("plain")
    other = {"a": Painted("a", {"on": plain}, times=2), "b": Painted("b", {"on": plain})}
    found = why(Plan("painted", Text("end", {**other, "c": Text("other")})))
    assert found == {
        "plain": "",
        "a": "parameters changed: times",
        "b": "parameters changed: painter",
        "other": "never made",
        "end": "input changed: takes.a, takes.b, takes.c",
    }
    found = why(Plan("painted", Text("end", {"a": other["a"]})))
    assert found["end"] == "parameters changed: takes.b, takes.c"
    shutil.rmtree(store.root / "entries")
    assert why(Plan("painted", plain)) == {"plain": "removed or broken"}


def test_status_names_libraries_that_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit
) -> None:
    store = Store(tmp_path / "store")
    edit("nothing", "")
    execute(plan(final="top"), store, Silent(), workers=1)
    edit("nothing", "")
    monkeypatch.setattr(sources, "version", lambda name: {"torch": "99"}.get(name) or version(name))
    (row,) = status(plan(final="top"), store)
    assert row.why == "library versions changed: torch"


class Silent:
    """A display that shows nothing."""

    def start(self, stages: int) -> None:
        pass

    def begin(self, label: str) -> None:
        pass

    def step(self, label: str, done: int, total: int, text: str) -> None:
        pass

    def end(self, label: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass
