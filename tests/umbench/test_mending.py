"""Broken entries under an engine: found when they are read, said, made anew with what they need."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from umbench.engine.kinds import Kind
from umbench.engine.local import execute
from umbench.engine.status import status
from umbench.errors import NotMeasuredError
from umbench.pipeline import Plan, Stage
from umbench.runfolder import fill
from umbench.store import Store
from umbench.suite.loader import load_suites

MODULE = """
import os
from pathlib import Path

def run(context):
    text = "".join(sorted((f / "text").read_text() for f in context.inputs.values()))
    (context.output / "text").write_text(text + context.stage.id)
    (context.output / "deep/er").mkdir(parents=True)
    (context.output / "deep/er/numbers").write_bytes(bytes(range(100)))
    spoil = context.stage.local.get("spoil")
    if spoil and not Path(spoil[0]).exists():
        Path(spoil[0]).touch()
        for path in Path(spoil[1]).glob("*/text"):
            if path.read_text() == spoil[2]:
                later = path.stat().st_mtime_ns + 10**9
                path.write_text(spoil[2].swapcase())
                os.utime(path, ns=(later, later))
    return {"made": context.stage.id}
"""
FILES = ("text", "deep/er/numbers", "result.json")
SHAPE = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}
KINDS = {
    f"kind of {id}": Kind(f"kind of {id}", "planted_mending", ("planted_mending",)) for id in SHAPE
}
FINAL = "topleft" + "topright" + "bottom"


class Log:
    """A display that keeps what it is told."""

    def __init__(self, ended: Callable[[Stage], object] = lambda stage: None) -> None:
        self.said: list[str] = []
        self.made: list[str] = []
        self.total: list[int] = []
        self.ended = ended

    def start(self, stages: int) -> None:
        self.total.append(stages)

    def begin(self, stage: Stage) -> None:
        self.made.append(stage.id)

    def step(self, stage: Stage, done: int, total: int, text: str) -> None:
        pass

    def end(self, stage: Stage) -> None:
        self.ended(stage)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Kind]:
    (tmp_path / "planted_mending.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "planted_mending", raising=False)
    return KINDS


def plan(shape: dict[str, list[str]] = SHAPE, **local: dict[str, object]) -> Plan:
    stages = tuple(
        Stage(id, f"kind of {id}", {"name": id}, {f"in {i}": i for i in inputs}, local.get(id, {}))
        for id, inputs in shape.items()
    )
    return Plan("planted", stages, stages[-1].id)


def flip(path: Path) -> None:
    """Change one bit of a file in its middle, a while after it was written."""
    data, later = bytearray(path.read_bytes()), path.stat().st_mtime_ns + 10**9
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(later, later))


def broken_ids(store: Store) -> list[str]:
    """Ids of the stages whose entries lie in broken/, told by the keys in the names."""
    keys = {row.key: row.stage.id for row in status(plan(), store, KINDS)}
    return sorted(keys[path.name.split(".")[0]] for path in (store.root / "broken").iterdir())


@pytest.mark.parametrize("id", SHAPE)
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_in_each_file_of_each_kind_is_found_and_mended(
    kinds: dict[str, Kind], tmp_path: Path, id: str, name: str
) -> None:
    """With what takes it in removed, so that it is read."""
    store = Store(tmp_path / "store")
    entries = execute(plan(), store, kinds, Log(), 1)
    good = {path: path.read_bytes() for e in entries.values() for path in e.rglob("[tn]*")}
    readers = {"top": ["left", "right", "bottom"], "bottom": []}.get(id, ["bottom"])
    for reader in readers:
        shutil.rmtree(entries[reader])
    flip(entries[id] / name)
    log = Log()
    again = execute(plan(), store, kinds, log, 1)
    assert (again["bottom"] / "text").read_text() == FINAL
    assert {path: path.read_bytes() for path in good} == good
    assert broken_ids(store) == [id]
    (said,) = log.said
    assert said.startswith(f"{id}: {name} is ")
    assert said.endswith("; it is made anew")
    assert sorted(log.made) == sorted([id, *readers])
    assert log.total[-1] == len(log.made)
    quiet = Log()
    execute(plan(), store, kinds, quiet, 1)
    assert quiet.total == [0]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_are_mended_in_one_run(kinds: dict[str, Kind], tmp_path: Path, workers: int) -> None:
    """Each is found only once the stage that reads it is due."""
    store = Store(tmp_path / "store")
    entries = execute(plan(), store, kinds, Log(), 1)
    for id, name in zip(SHAPE, ("text", "deep/er/numbers", "result.json", "text"), strict=True):
        flip(entries[id] / name)
    log = Log()
    again = execute(plan(), store, kinds, log, workers)
    assert (again["bottom"] / "text").read_text() == FINAL
    assert broken_ids(store) == sorted(SHAPE)
    assert sorted(line.split(":")[0] for line in log.said) == sorted(SHAPE)
    assert sorted(log.made) == sorted(SHAPE)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_breaks_while_the_run_is_on_is_found_too(
    kinds: dict[str, Kind], tmp_path: Path, workers: int
) -> None:
    """`left` spoils `top`, which `left` has read already, before `right` and `bottom` read it."""
    store = Store(tmp_path / "store")
    shape = {"top": [], "left": ["top"], "right": ["top", "left"], "bottom": ["right"]}
    spoil = [str(tmp_path / "spoilt"), str(store.root / "entries"), "top"]
    log = Log()
    entries = execute(plan(shape, left={"spoil": spoil}), store, kinds, log, workers)
    assert (tmp_path / "spoilt").exists()
    assert (entries["bottom"] / "text").read_text() == "toptopleftrightbottom"
    assert log.made == ["top", "left", "top", "right", "bottom"]
    (said,) = log.said
    assert said.startswith("top: text is not as it was written (SHA-256); set aside as broken/")


def test_a_disk_that_keeps_nothing_is_said_at_last(kinds: dict[str, Kind], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def spoil(stage: Stage) -> None:
        for path in (store.root / "entries").glob("*/text"):
            if path.read_text() == "top":
                flip(path)

    with pytest.raises(NotMeasuredError, match="stage top: made 3 times, and text is not as it"):
        execute(plan(), store, kinds, Log(spoil), 1)


def test_only_what_an_entry_lists_reaches_the_run_folder(
    kinds: dict[str, Kind], tmp_path: Path
) -> None:
    """Nor does a stage's broken result.json stop the list of what it took."""
    (suite,) = load_suites("quick")
    store = Store(tmp_path / "store")
    entries = execute(plan(), store, kinds, Log(), 1)
    (entries["bottom"] / "scores.csv").write_text("planted")
    (entries["top"] / "result.json").write_text("[1]")
    log = Log()
    again = execute(plan(), store, kinds, log, 1)
    assert "scores.csv does not belong to it" in log.said[0]
    (again["bottom"] / "scores.csv").write_text("planted afterwards")
    fill(tmp_path / "run", suite, plan(), again)
    assert not (tmp_path / "run/scores.csv").exists()
    assert (tmp_path / "run/text").read_text() == FINAL
    took = json.loads((tmp_path / "run/environment.json").read_text())["stages"]
    assert took["bottom"]["measured"] == {"made": "bottom"}


SHAPES: dict[str, Callable[[Path], object]] = {
    "list": lambda p: p.write_text("[1]"),
    "half": lambda p: p.write_text("{"),
    "nested": lambda p: p.write_text("[" * 100_000),
    "bytes": lambda p: p.write_bytes(b"\xff\xfe"),
    "number": lambda p: p.write_text("9" * 5001),
    "keys": lambda p: p.write_text('{"params": {}, "code": "x"}'),
    "types": lambda p: p.write_text('{"params":1,"inputs":[],"code":{},"libraries":""}'),
    "pipe": lambda p: os.mkfifo(p),
    "dangling": lambda p: p.symlink_to("nowhere"),
    "folder": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_was_remembered_in_another_shape_is_ignored(
    kinds: dict[str, Kind], tmp_path: Path, shape: str
) -> None:
    store = Store(tmp_path / "store")
    execute(plan(), store, kinds, Log(), 1)
    assert {row.why for row in status(plan(), store, kinds)} == {""}
    shutil.rmtree(store.root / "entries")
    assert {row.why for row in status(plan(), store, kinds)} == {"removed or broken"}
    for path in list((store.root / "last").iterdir()):
        path.unlink()
        SHAPES[shape](path)
    assert {row.why for row in status(plan(), store, kinds)} == {"never made"}
    execute(plan(), store, kinds, Log(), 1)
    shutil.rmtree(store.root / "entries")
    assert {row.why for row in status(plan(), store, kinds)} == {"removed or broken"}
