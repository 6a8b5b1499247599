"""The store: every stage's result under the hash of what it depends on.

An entry is written to a temporary folder and renamed, so it is there whole or not at all.
`result.json` lists its files with sizes and SHA-256; content is checked when a run first reads an
entry, and a broken one is moved aside and made anew. One lock per key lets several runs share a
store, on several hosts too where the file system carries flock between them (see `locks`).
Temporaries name the host and process that write them; nobody removes another host's.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from umbench.errors import InputError, explained
from umbench.store.contents import (
    RESULT,
    BrokenEntry,
    Signature,
    check,
    read_result,
    signature,
    write_result,
)
from umbench.store.locks import locked
from umbench.temporaries import owned, remove, replacing, sweep

__all__ = ["RESULT", "Store", "replacing"]

FOLDERS = ("entries", "scratch", "locks", "broken", "temporary", "last")
_checked: dict[Path, Signature] = {}
"""Entries whose content this process has read or written, and how their files looked then."""


class Store:
    """A folder of finished entries, scratch folders of unfinished ones, and locks."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()

    def prepare(self) -> None:
        """Make the folders and sweep them; InputError where the store cannot be written."""
        with explained(self.root):
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "temporary" / owned("probe")
            probe.write_text("")
            probe.unlink()
            sweep(self.root / "temporary")
            sweep(self.root / "last")

    def entry(self, key: str) -> Path | None:
        """The finished entry's folder as a look at its result.json tells; None where there is none.

        What the other files hold is not checked: this is for planning. See `checked`.
        """
        return None if self.result(key) is None else self._place(key)

    def result(self, key: str) -> dict[str, Any] | None:
        """The facts of a finished entry; None where there is none, or result.json is broken."""
        with contextlib.suppress(BrokenEntry), self._readable(key):
            return read_result(self._place(key), key)
        return None

    def checked(self, key: str) -> Path | None:
        """The finished entry's folder, for reading; None where there is none, or it is broken.

        A process reads an entry's content once, and again when a file of it has changed on disk.
        """
        return None if self.fault(key) is not None else self._place(key)

    def fault(self, key: str) -> str | None:
        """Which file of an entry is broken and why; None where all is as it was written."""
        folder = self._place(key)
        try:
            with self._readable(key):
                now = signature(folder)
                if _checked.get(folder) != now:
                    check(folder, key)
                    _checked[folder] = now
        except BrokenEntry as broken:
            _checked.pop(folder, None)
            return str(broken)
        return None

    def clear(self, key: str) -> str | None:
        """Move aside what stands in a key's place and is no whole entry; says what and where to.

        The caller holds the key's lock. Afterwards the entry is whole, or not there.
        """
        folder = self._place(key)
        if not os.path.lexists(folder):
            return None
        fault = self.fault(key)
        if fault is None:
            return None
        return f"{fault}; set aside as {self._set_aside(folder).relative_to(self.root)}"

    def scratch(self, key: str) -> Path:
        """A folder for checkpoints that outlives a kill; the caller holds the key's lock."""
        folder = self.root / "scratch" / key
        with explained(self.root):
            self._make_way(folder, stat.S_ISDIR)
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
        return folder

    @contextlib.contextmanager
    def locked(
        self, key: str, waiting: Callable[[str], None] = lambda holder: None
    ) -> Iterator[None]:
        """Hold the key's lock; `waiting` is called once with HOST:PROCESS of a run that has it."""
        path = self.root / "locks" / f"{key}.lock"
        with contextlib.ExitStack() as held:
            with explained(self.root):
                self._make_way(path, stat.S_ISREG)
                held.enter_context(locked(path, waiting))
            yield

    def write(
        self, key: str, make: Callable[[Path], dict[str, Any]], facts: dict[str, Any]
    ) -> Path:
        """Call `make(folder)`, then put what it wrote in place as the key's entry.

        The caller holds the key's lock. `make` returns facts that join `facts` in result.json.
        InputError where it left a link or something else that is no regular file.
        """
        folder = self._place(key)
        temporary = self.root / "temporary" / owned(key)
        with explained(self.root):
            remove(temporary)
            temporary.mkdir(parents=True)
            try:
                made = make(temporary)
                try:
                    write_result(temporary, {**facts, **made, "key": key})
                except BrokenEntry as broken:
                    raise InputError(f"{facts.get('id', key)}: of its result, {broken}") from None
                if os.path.lexists(folder):
                    self._set_aside(folder)
                temporary.rename(folder)
                _checked[folder] = signature(folder)
            finally:
                remove(temporary)
        remove(self.root / "scratch" / key)
        return folder

    def note(self, name: str, text: str) -> None:
        """Keep a small text under `last/`; see `noted`."""
        path = self.root / "last" / name
        with explained(self.root):
            self._make_way(path, stat.S_ISREG)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def noted(self, name: str) -> str | None:
        """What `note` kept, if it can be read."""
        path = self.root / "last" / name
        with contextlib.suppress(OSError, ValueError):
            return path.read_text(encoding="utf-8") if path.is_file() else None
        return None

    def _place(self, key: str) -> Path:
        return self.root / "entries" / key

    def _make_way(self, path: Path, right: Callable[[int], bool]) -> None:
        """Set aside what stands at a path and is of another type than it should be."""
        if os.path.lexists(path) and not right(path.lstat().st_mode):
            self._set_aside(path)

    def _set_aside(self, path: Path) -> Path:
        """Move a file, a folder or a link, not what it points at, out of the way."""
        target = self.root / "broken" / f"{path.name}.{time.time_ns()}"
        with explained(self.root):
            path.rename(target)
        return target

    @contextlib.contextmanager
    def _readable(self, key: str) -> Iterator[None]:
        """One clear line where an entry may not be read, which does not mean that it is broken."""
        try:
            yield
        except PermissionError:
            raise InputError(
                f"{self._place(key)}: no permission to read it; have that granted, or name "
                "another place with --store"
            ) from None
