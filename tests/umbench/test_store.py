"""The store: whole entries or none, whatever happens in between."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from umbench.errors import InputError
from umbench.store import Store, explained

KEY = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def _fill(folder: Path) -> dict[str, object]:
    (folder / "x.txt").write_text("x")
    return {"seconds": 0.0}


def test_an_entry_is_there_after_it_was_written(store: Store) -> None:
    with store.locked(KEY):
        folder = store.write(KEY, _fill, {"kind": "test"})
    assert store.entry(KEY) == folder
    assert store.verify(KEY)
    facts = json.loads((folder / "result.json").read_text())
    assert facts["kind"] == "test"
    assert facts["files"]["x.txt"]["bytes"] == 1


def test_a_failing_stage_leaves_no_entry_and_keeps_its_scratch(store: Store) -> None:
    scratch = store.scratch(KEY)
    (scratch / "checkpoint.pt").write_text("half")

    def fail(folder: Path) -> dict[str, object]:
        (folder / "x.txt").write_text("x")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write(KEY, fail, {})
    assert store.entry(KEY) is None
    assert (scratch / "checkpoint.pt").exists()
    assert not list((store.root / "temporary").iterdir())


@pytest.mark.parametrize("damage", ["cut", "remove", "json"])
def test_a_broken_entry_is_set_aside_and_made_anew(store: Store, damage: str) -> None:
    folder = store.write(KEY, _fill, {})
    if damage == "cut":
        (folder / "x.txt").write_text("")
    elif damage == "remove":
        (folder / "x.txt").unlink()
    else:
        (folder / "result.json").write_text("{")
    assert store.entry(KEY) is None
    store.write(KEY, _fill, {})
    assert store.verify(KEY)
    assert len(list((store.root / "broken").iterdir())) == 1


def test_left_overs_of_dead_processes_are_swept(store: Store) -> None:
    (store.root / "temporary" / f"{KEY}.999999999").mkdir()
    store.prepare()
    assert not list((store.root / "temporary").iterdir())


def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(InputError, match="name another one with --store"):
        Store(tmp_path / "store").prepare()


@pytest.mark.parametrize(
    ("number", "text"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_what_the_system_says_becomes_one_line(tmp_path: Path, number: int, text: str) -> None:
    with pytest.raises(InputError, match=text), explained(tmp_path):
        raise OSError(number, "x", str(tmp_path))
