"""What an entry holds: regular files, each listed in result.json with its size and SHA-256.

result.json bears a SHA-256 of itself, so that a changed byte in it is noticed too. Links are never
followed; an entry holds what is listed and nothing else.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULT = "result.json"
SCHEMA = 3
SEAL = "seal"
"""Key of result.json: SHA-256 of the same document without it."""
CHUNK = 1 << 20

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, bytes, time of change (ns) and inode of each file: what no writer leaves all as it was."""
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EIO)
"""Of a file that is not what was written; other errors speak of rights or of this process."""


class BrokenEntry(Exception):
    """What is wrong with an entry, naming the file."""


def write_result(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write result.json: the facts, and size and SHA-256 of all files that the folder holds."""
    files = {
        name: {"bytes": found.st_size, "sha256": sha256(folder / name)}
        for name, found in sorted(_files(folder).items())
        if name != RESULT
    }
    content = {**facts, "schema": SCHEMA, "files": files}
    seal = hashlib.sha256(_text(content)).hexdigest()
    (folder / RESULT).write_bytes(_text({**content, SEAL: seal}))


def read_result(folder: Path, key: str) -> dict[str, Any]:
    """The facts of an entry's result.json; BrokenEntry where it is not as it was written.

    The other files are not looked at.
    """
    _expect_folder(folder)
    try:
        if not stat.S_ISREG((folder / RESULT).lstat().st_mode):
            raise BrokenEntry(f"{RESULT} is no regular file")
        data = (folder / RESULT).read_bytes()
        content = json.loads(data)
    except OSError as error:
        raise _broken(RESULT, error) from None
    except (ValueError, RecursionError):
        raise BrokenEntry(f"{RESULT} is no valid JSON") from None
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise BrokenEntry(f"{RESULT} does not list files")
    if content.get("schema") != SCHEMA:
        raise BrokenEntry(f"{RESULT} has another schema than {SCHEMA}")
    if content.get("key") != key:
        raise BrokenEntry(f"{RESULT} is that of another key")
    unsealed = {name: value for name, value in content.items() if name != SEAL}
    seal = hashlib.sha256(_text(unsealed)).hexdigest()
    if data != _text({**unsealed, SEAL: seal}):
        raise BrokenEntry(f"{RESULT} is not as it was written")
    return content


def signature(folder: Path) -> Signature:
    """What changes when a file of an entry is written again, added or removed."""
    return tuple(
        (name, facts.st_size, facts.st_mtime_ns, facts.st_ino)
        for name, facts in sorted(_files(folder).items())
    )


def check(folder: Path, key: str) -> None:
    """Read all of an entry; BrokenEntry where a file is missing, added or not as written."""
    listed = read_result(folder, key)["files"]
    found = _files(folder)
    for name in sorted(listed.keys() | found.keys() - {RESULT}):
        if name not in found:
            raise BrokenEntry(f"{name} is missing")
        if name not in listed:
            raise BrokenEntry(f"{name} does not belong to it")
        if found[name].st_size != listed[name]["bytes"]:
            raise BrokenEntry(f"{name} has another size than was written")
    for name in sorted(listed):
        try:
            same = sha256(folder / name) == listed[name]["sha256"]
        except OSError as error:
            raise _broken(name, error) from None
        if not same:
            raise BrokenEntry(f"{name} is not as it was written (SHA-256)")


def sha256(path: Path) -> str:
    """Hash of a file, which is never held whole."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _files(folder: Path) -> dict[str, os.stat_result]:
    """Regular files below a folder by relative name; BrokenEntry where something else is there."""
    _expect_folder(folder)
    found: dict[str, os.stat_result] = {}
    folders = [folder]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                facts = {Path(e.path): e.stat(follow_symlinks=False) for e in entries}
        except OSError as error:
            raise _broken(here.relative_to(folder).as_posix(), error) from None
        for path, fact in facts.items():
            if stat.S_ISDIR(fact.st_mode):
                folders.append(path)
            elif stat.S_ISREG(fact.st_mode):
                found[path.relative_to(folder).as_posix()] = fact
            else:
                raise BrokenEntry(f"{path.relative_to(folder).as_posix()} is no regular file")
    return found


def _expect_folder(folder: Path) -> None:
    """BrokenEntry unless a folder stands there, and no link to one."""
    try:
        mode = folder.lstat().st_mode
    except OSError as error:
        raise _broken("its folder", error) from None
    if not stat.S_ISDIR(mode):
        raise BrokenEntry("a file or a link stands where its folder should be")


def _broken(name: str, error: OSError) -> Exception:
    """The error as a fault of the entry, or as it is where it says nothing about the entry."""
    if error.errno in _GONE:
        return BrokenEntry(f"{name} cannot be read: {os.strerror(error.errno or 0)}")
    return error


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()
