"""Broken entries under an engine: found when they are read, said, made anew with what they need."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from planted_stages import DIAMOND, Act, plan

from umbench.engine.engines import execute
from umbench.engine.status import status
from umbench.errors import NotMeasuredError
from umbench.pipeline import Plan
from umbench.runfolder import fill
from umbench.store import Store
from umbench.suite.loader import load_suites

FILES = ("text", "deep/er/numbers", "result.json")
FINAL = "topleft" + "topright" + "bottom"


class Log:
    """A display that keeps what it is told."""

    def __init__(self, ended: Callable[[str], object] = lambda label: None) -> None:
        self.said: list[str] = []
        self.made: list[str] = []
        self.total: list[int] = []
        self.ended = ended

    def start(self, stages: int) -> None:
        self.total.append(stages)

    def begin(self, label: str) -> None:
        self.made.append(label)

    def step(self, label: str, done: int, total: int, text: str) -> None:
        pass

    def end(self, label: str) -> None:
        self.ended(label)

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, log: Log, workers: int = 1, chosen: Plan | None = None) -> dict[str, Path]:
    """Entries by label."""
    chosen = chosen or plan()
    entries = execute(chosen, store, log, workers=workers)
    return {chosen.labels[stage]: entry for stage, entry in entries.items()}


def flip(path: Path) -> None:
    """Change one bit of a file in its middle, a while after it was written."""
    data, later = bytearray(path.read_bytes()), path.stat().st_mtime_ns + 10**9
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(later, later))


def broken_labels(store: Store) -> list[str]:
    """Labels of the stages whose entries lie in broken/, told by the keys in the names."""
    keys = {row.key: row.label for row in status(plan(), store)}
    return sorted(keys[path.name.split(".")[0]] for path in (store.root / "broken").iterdir())


@pytest.mark.parametrize("id", DIAMOND)
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_in_each_file_is_found_and_mended(store: Store, id: str, name: str) -> None:
    """With what takes it in removed, so that it is read."""
    entries = run(store, Log())
    good = {path: path.read_bytes() for e in entries.values() for path in e.rglob("[tn]*")}
    readers = {"top": ["left", "right", "bottom"], "bottom": []}.get(id, ["bottom"])
    for reader in readers:
        shutil.rmtree(entries[reader])
    flip(entries[id] / name)
    log = Log()
    again = run(store, log)
    assert (again["bottom"] / "text").read_text() == FINAL
    assert {path: path.read_bytes() for path in good} == good
    assert broken_labels(store) == [id]
    (said,) = log.said
    assert said.startswith(f"{id}: {name} is ")
    assert said.endswith("; it is made anew")
    assert sorted(log.made) == sorted([id, *readers])
    assert log.total[-1] == len(log.made)
    quiet = Log()
    run(store, quiet)
    assert quiet.total == [0]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_are_mended_in_one_run(store: Store, workers: int) -> None:
    """Each is found only once the stage that reads it is due."""
    entries = run(store, Log())
    for id, name in zip(DIAMOND, ("text", "deep/er/numbers", "result.json", "text"), strict=True):
        flip(entries[id] / name)
    log = Log()
    again = run(store, log, workers)
    assert (again["bottom"] / "text").read_text() == FINAL
    assert broken_labels(store) == sorted(DIAMOND)
    assert sorted(line.split(":")[0] for line in log.said) == sorted(DIAMOND)
    assert sorted(log.made) == sorted(DIAMOND)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_breaks_while_the_run_is_on_is_found_too(
    store: Store, tmp_path: Path, workers: int
) -> None:
    """`left` spoils `top`, which `left` has read already, before `right` and `bottom` read it."""
    shape = {"top": (), "left": ("top",), "right": ("top", "left"), "bottom": ("right",)}
    spoil = (str(tmp_path / "spoilt"), str(store.root / "entries"), "top")
    log = Log()
    entries = run(store, log, workers, plan(shape, left={"act": Act(spoil=spoil)}))
    assert (tmp_path / "spoilt").exists()
    assert (entries["bottom"] / "text").read_text() == "toptopleftrightbottom"
    assert log.made == ["top", "left", "top", "right", "bottom"]
    (said,) = log.said
    assert said.startswith("top: text is not as it was written (SHA-256); set aside as broken/")


def test_a_disk_that_keeps_nothing_is_said_at_last(store: Store) -> None:

    def spoil(label: str) -> None:
        for path in (store.root / "entries").glob("*/text"):
            if path.read_text() == "top":
                flip(path)

    with pytest.raises(NotMeasuredError, match="stage top: made 3 times, and text is not as it"):
        run(store, Log(spoil))


def test_only_what_an_entry_lists_reaches_the_run_folder(store: Store, tmp_path: Path) -> None:
    """Nor does a stage's broken result.json stop the list of what it took."""
    (suite,) = load_suites("quick")
    entries = run(store, Log())
    (entries["bottom"] / "scores.csv").write_text("planted")
    (entries["top"] / "result.json").write_text("[1]")
    log, chosen = Log(), plan()
    again = execute(chosen, store, log)
    assert "scores.csv does not belong to it" in log.said[0]
    (again[chosen.final] / "scores.csv").write_text("planted afterwards")
    fill(tmp_path / "run", suite, chosen, again)
    assert not (tmp_path / "run/scores.csv").exists()
    assert (tmp_path / "run/text").read_text() == FINAL
    took = json.loads((tmp_path / "run/environment.json").read_text())["stages"]
    assert took["bottom"]["measured"]["name"] == "bottom"


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
def test_what_was_remembered_in_another_shape_is_ignored(store: Store, shape: str) -> None:
    run(store, Log())
    assert {row.why for row in status(plan(), store)} == {""}
    shutil.rmtree(store.root / "entries")
    assert {row.why for row in status(plan(), store)} == {"removed or broken"}
    for path in list((store.root / "last").iterdir()):
        path.unlink()
        SHAPES[shape](path)
    assert {row.why for row in status(plan(), store)} == {"never made"}
    run(store, Log())
    shutil.rmtree(store.root / "entries")
    assert {row.why for row in status(plan(), store)} == {"removed or broken"}
