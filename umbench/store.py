"""The store: every stage's result under the hash of what it depends on.

An entry is written to a temporary folder and renamed, so it is there whole or not at all.
`result.json` lists its files with sizes and SHA-256; a broken entry is moved aside and made
anew. One lock file per key lets several runs share a store.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from umbench.errors import explained

RESULT = "result.json"
SCHEMA = 1


class Store:
    """A folder of finished entries, scratch folders of unfinished ones, and locks."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def prepare(self) -> None:
        """Make the folders; InputError where the store cannot be written."""
        with explained(self.root):
            for name in ("entries", "scratch", "locks", "broken", "temporary"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "temporary" / f"probe-{os.getpid()}"
            probe.write_text("")
            probe.unlink()
            _sweep(self.root / "temporary")

    def entry(self, key: str) -> Path | None:
        """The finished entry's folder; None where it was never made, or is broken."""
        folder = self.root / "entries" / key
        if not folder.is_dir():
            return None
        return folder if self._whole(folder) else None

    def result(self, key: str) -> dict[str, Any] | None:
        """The facts of a finished entry."""
        folder = self.entry(key)
        return None if folder is None else json.loads((folder / RESULT).read_text())

    def verify(self, key: str) -> bool:
        """Whether every file of an entry still has the content that was written."""
        result = self.result(key)
        if result is None:
            return False
        folder = self.root / "entries" / key
        return all(
            _sha256(folder / name) == facts["sha256"] for name, facts in result["files"].items()
        )

    def scratch(self, key: str) -> Path:
        """A folder for checkpoints that outlives a kill."""
        folder = self.root / "scratch" / key
        with explained(self.root):
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
        return folder

    @contextlib.contextmanager
    def locked(self, key: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the key's lock; `waiting` is called once if another run has it."""
        from filelock import FileLock, Timeout

        with explained(self.root):
            lock = FileLock(self.root / "locks" / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                waiting()
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def write(
        self, key: str, make: Callable[[Path], dict[str, Any]], facts: dict[str, Any]
    ) -> Path:
        """Call `make(folder)`, then put what it wrote in place as the key's entry.

        The caller holds the key's lock. `make` returns facts that join `facts` in result.json.
        """
        folder = self.root / "entries" / key
        temporary = self.root / "temporary" / f"{key}.{os.getpid()}"
        if folder.exists():
            self._set_aside(folder)
        with explained(self.root):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            try:
                made = make(temporary)
                files = {
                    path.relative_to(temporary).as_posix(): {
                        "bytes": path.stat().st_size,
                        "sha256": _sha256(path),
                    }
                    for path in sorted(temporary.rglob("*"))
                    if path.is_file()
                }
                result = {"schema": SCHEMA, "key": key, **facts, **made, "files": files}
                (temporary / RESULT).write_text(json.dumps(result, indent=1, sort_keys=True))
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)
        return folder

    def _whole(self, folder: Path) -> bool:
        """Whether result.json can be read and all files are there at their sizes."""
        try:
            files = json.loads((folder / RESULT).read_text())["files"]
            return all((folder / n).stat().st_size == f["bytes"] for n, f in files.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def _set_aside(self, folder: Path) -> None:
        with explained(self.root):
            folder.rename(self.root / "broken" / f"{folder.name}.{time.time_ns()}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file that takes the place of `path` once it is written; nothing of it is left if not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone were writing: names that end in their number."""
    for path in folder.iterdir():
        owner = path.name.rpartition(".")[2]
        if not owner.isdigit() or _alive(int(owner)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(file.read()).hexdigest()
        )
