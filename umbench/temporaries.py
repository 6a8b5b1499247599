"""Files under way: each is named after the host and the process that write it.

`NAME.HOST.PROCESS` lies where it will be put in place. What a killed process leaves is swept, but
only where this host can tell that the process is gone; names of other hosts, and names of another
form, are nobody's business here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")
_OWNED = re.compile(
    r"(?P<name>.+)\.(?P<host>[A-Za-z0-9-]+)\.(?P<process>[1-9][0-9]{0,9})", re.DOTALL
)
_LARGEST = 2**31 - 1


@functools.cache
def this_host() -> str:
    """A name for the processes that see each other by number: machine, boot and namespace.

    Two containers on one machine differ; so does a machine before and after it was started anew.
    """
    name = socket.gethostname()
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = BOOT.read_text()
    with contextlib.suppress(OSError):
        namespace = str(NAMESPACE.readlink())
    digest = hashlib.sha256("\n".join((name, boot, namespace)).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', name)[:15]}-{digest[:12]}"


def this_process() -> str:
    """HOST:PROCESS, for people."""
    return f"{this_host()}:{os.getpid()}"


def owned(name: str) -> str:
    """The name under which this process writes what will be called `name`."""
    return f"{name}.{this_host()}.{os.getpid()}"


def beside(path: Path) -> Path:
    """Where this process writes what takes the place of `path`; hidden, in the same folder."""
    return path.with_name(owned(f".{path.name}"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file that takes the place of `path` once it is written; nothing of it is left if not.

    What killed processes of this host left of the same file is removed.
    """
    sweep_beside(path)
    temporary = beside(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what processes of this host that are gone left in a folder, of `name` or of any."""
    for path in folder.iterdir():
        found = _OWNED.fullmatch(path.name)
        if found is None or found["host"] != this_host() or name not in (None, found["name"]):
            continue
        if not _may_live(int(found["process"])):
            remove(path)


def sweep_beside(path: Path) -> None:
    """Remove what was to take the place of `path` and was left by processes that are gone."""
    with contextlib.suppress(OSError):  # a folder that is not there, or may not be listed
        sweep(path.parent, f".{path.name}")


def remove(path: Path) -> None:
    """Remove a file, a link (not what it points at) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _may_live(process: int) -> bool:
    if process > _LARGEST:
        return True  # no process number at all: not ours to judge
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
