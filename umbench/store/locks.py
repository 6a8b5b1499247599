"""Locks between processes, those of other hosts included: flock on a file, kept by the kernel.

A lock ends with the process that holds it, however that ends. On a network file system flock must
reach all hosts: NFS does that from version 3 with its lock daemon and in version 4 always, unless
mounted with `nolock` or `local_lock`; Lustre needs the mount option `flock`. Without it two hosts
may do the same work twice, and the later result takes the place of the earlier one.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from umbench.errors import InputError
from umbench.temporaries import this_process

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file, which meanwhile has one line, HOST:PROCESS of who holds it.

    waiting: called once with that line, where another process has the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _acquire(path, descriptor, waiting)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{this_process()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _acquire(path: Path, descriptor: int, waiting: Callable[[str], None]) -> None:
    import fcntl

    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(os.pread(descriptor, 200, 0).decode(errors="replace").strip())
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise InputError(
            f"{path}: this file system gives no locks (flock); name another place with --store"
        ) from None
