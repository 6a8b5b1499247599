"""The store: whole entries or none, whatever happens in between."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from umbench import temporaries
from umbench.errors import InputError
from umbench.store import Store, explained

KEY = "a" * 64
Damage = Callable[[Path], object]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def _fill(folder: Path) -> dict[str, object]:
    (folder / "x.txt").write_text("x")
    (folder / "deeper").mkdir()
    (folder / "deeper/y.bin").write_bytes(bytes(100))
    return {"seconds": 0.0}


def _flip(path: Path, at: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    _write(path, bytes(data))


def _write(path: Path, data: bytes) -> None:
    """Write a file again, a while after it was written: the clock of file systems ticks slowly."""
    later = path.stat().st_mtime_ns + 10**9
    path.write_bytes(data)
    os.utime(path, ns=(later, later))


def _edit_result(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    facts = json.loads((folder / "result.json").read_text())
    change(facts)
    _write(folder / "result.json", json.dumps(facts, indent=1, sort_keys=True).encode())


def _swap_for_link(path: Path) -> None:
    """The same content, but elsewhere."""
    elsewhere = path.parents[3] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def test_an_entry_is_there_after_it_was_written(store: Store) -> None:
    with store.locked(KEY):
        folder = store.write(KEY, _fill, {"kind": "test"})
    assert store.entry(KEY) == store.checked(KEY) == folder
    facts = json.loads((folder / "result.json").read_text())
    assert facts["kind"] == "test"
    assert facts["files"]["x.txt"]["bytes"] == 1
    assert facts["files"].keys() == {"x.txt", "deeper/y.bin"}


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


def test_a_link_in_a_result_is_an_error_and_not_an_entry(store: Store) -> None:
    def link(folder: Path) -> dict[str, object]:
        (folder / "x").symlink_to("/etc/hostname")
        return {}

    with pytest.raises(InputError, match="planted: of its result, x is no regular file"):
        store.write(KEY, link, {"id": "planted"})
    assert not list((store.root / "entries").iterdir())


# What is broken ---------------------------------------------------------------------------------

DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut": (lambda f: (f / "x.txt").write_text(""), "x.txt has another size"),
    "flip": (lambda f: _flip(f / "deeper/y.bin", 50), "deeper/y.bin is not as it was written"),
    "remove": (lambda f: (f / "deeper/y.bin").unlink(), "deeper/y.bin is missing"),
    "add": (lambda f: (f / "z").touch(), "z does not belong to it"),
    "add deeper": (lambda f: (f / "deeper/result.json").touch(), "deeper/result.json does not"),
    "link": (lambda f: _swap_for_link(f / "x.txt"), "x.txt is no regular file"),
    "pipe": (lambda f: os.mkfifo(f / "z"), "z is no regular file"),
    "folder for file": (
        lambda f: ((f / "x.txt").unlink(), (f / "x.txt").mkdir()), "x.txt is missing",
    ),
    "no result": (lambda f: (f / "result.json").unlink(), "result.json cannot be read"),
    "pipe for result": (
        lambda f: ((f / "result.json").unlink(), os.mkfifo(f / "result.json")),
        "result.json is no regular file",
    ),
    "half a json": (lambda f: (f / "result.json").write_text("{"), "result.json is no valid JSON"),
    "nested": (lambda f: (f / "result.json").write_text("[" * 100_000), "no valid JSON"),
    "bytes": (lambda f: (f / "result.json").write_bytes(b"\xff"), "no valid JSON"),
    "list": (lambda f: (f / "result.json").write_text("[1]"), "does not list files"),
    "no files": (lambda f: _edit_result(f, lambda r: r.update(files={})), "not as it was written"),
    "file list": (lambda f: _edit_result(f, lambda r: r.update(files=["x.txt"])), "not list files"),
    "other key": (lambda f: _edit_result(f, lambda r: r.update(key="b" * 64)), "of another key"),
    "schema": (lambda f: _edit_result(f, lambda r: r.update(schema=2)), "another schema than 3"),
    "other facts": (lambda f: _edit_result(f, lambda r: r.update(seconds=1.0)), "not as it was"),
    "unsealed": (lambda f: _edit_result(f, lambda r: r.pop("seal")), "not as it was written"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_broken_entry_is_set_aside_and_made_anew(store: Store, name: str) -> None:
    damage, words = DAMAGES[name]
    folder = store.write(KEY, _fill, {})
    assert store.checked(KEY) == folder
    damage(folder)
    assert store.checked(KEY) is None
    said = store.clear(KEY)
    assert said is not None
    assert words in said
    (aside,) = (store.root / "broken").iterdir()
    assert said.endswith(f"set aside as broken/{aside.name}")
    assert not os.path.lexists(folder)
    store.write(KEY, _fill, {})
    assert store.checked(KEY) == folder
    assert store.clear(KEY) is None


def test_any_byte_of_any_file_counts(store: Store) -> None:
    folder = store.write(KEY, _fill, {"kind": "test"})
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        good = path.read_bytes()
        for at in range(len(good)):
            _flip(path, at)
            assert store.fault(KEY) is not None, (path, at)
            _write(path, good)
        assert store.fault(KEY) is None


def test_content_is_read_once_in_a_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.write(KEY, _fill, {})
    other = Store(shutil.copytree(store.root, store.root.with_name("copy")))
    read: list[Path] = []
    hashed = vars(__import__("umbench.store.contents", fromlist=["x"]))["sha256"]
    monkeypatch.setattr("umbench.store.contents.sha256", lambda p: (read.append(p), hashed(p))[1])
    assert store.checked(KEY)
    assert not read, "what this process wrote was read again"
    assert other.checked(KEY)
    assert other.checked(KEY)
    assert sorted(path.name for path in read) == ["x.txt", "y.bin"]
    _flip(folder / "x.txt")
    assert store.checked(KEY) is None


def test_planning_looks_at_result_json_alone(store: Store) -> None:
    folder = store.write(KEY, _fill, {})
    _flip(folder / "x.txt")
    assert store.entry(KEY) == folder
    _edit_result(folder, lambda facts: facts.update(files={}))
    assert store.entry(KEY) is None


@pytest.mark.parametrize("what", ["dangling", "link", "file"])
def test_what_is_no_folder_is_set_aside_itself(store: Store, tmp_path: Path, what: str) -> None:
    place, elsewhere = store.root / "entries" / KEY, tmp_path / "elsewhere"
    store.write(KEY, _fill, {}).rename(elsewhere)
    if what == "file":
        place.touch()
    else:
        place.symlink_to(elsewhere if what == "link" else tmp_path / "nowhere")
    assert store.entry(KEY) is None
    assert store.checked(KEY) is None
    assert "a file or a link stands where its folder should be" in (store.clear(KEY) or "")
    assert store.write(KEY, _fill, {}) == place
    assert store.checked(KEY) == place
    (aside,) = (store.root / "broken").iterdir()
    assert aside.is_symlink() == (what != "file")
    assert (elsewhere / "x.txt").read_text() == "x"


@pytest.mark.parametrize("folder", ["scratch", "locks"])
def test_scratch_and_locks_are_made_in_the_store(store: Store, tmp_path: Path, folder: str) -> None:
    name = KEY if folder == "scratch" else f"{KEY}.lock"
    (store.root / folder / name).symlink_to(tmp_path / "outside")
    with store.locked(KEY):
        assert store.scratch(KEY).is_dir()
    assert not (tmp_path / "outside").exists()
    assert len(list((store.root / "broken").iterdir())) == 1


def test_an_entry_that_may_not_be_read_is_not_broken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(KEY, _fill, {})

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr("umbench.store.read_result", refuse)
    monkeypatch.setattr("umbench.store.signature", refuse)
    for look in (store.entry, store.checked, store.clear):
        with pytest.raises(InputError, match="no permission to read it"):
            look(KEY)
    assert not list((store.root / "broken").iterdir())


# Locks ------------------------------------------------------------------------------------------


def test_who_waits_is_told_for_whom_and_gets_the_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    waits, order = threading.Event(), []

    def wait() -> None:
        def told(holder: str) -> None:
            heard.append(holder)
            waits.set()

        with store.locked(KEY, told):
            order.append("second")

    second = threading.Thread(target=wait)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(temporaries, "this_host", lambda: "other-host-1")
        with store.locked(KEY):
            second.start()
            assert waits.wait(20)
            order.append("first")
    second.join(20)
    assert heard == [f"other-host-1:{os.getpid()}"]
    assert order == ["first", "second"]
    with store.locked(KEY, heard.append):
        pass
    assert len(heard) == 1


def test_a_file_system_without_locks_is_one_clear_line(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(InputError, match=r"gives no locks .*; name another"), store.locked(KEY):
        pass


# What the system says ---------------------------------------------------------------------------


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
