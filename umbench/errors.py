"""Errors that a user sees as one line, and what the operating system says put into such lines."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path


class UmbenchError(Exception):
    """Base of all errors shown as one clear line; `exit_status` is what the command returns."""

    exit_status = 2


class InputError(UmbenchError):
    """Wrong usage or input: names the file or key, what is wrong and what to do."""


class NotMeasuredError(UmbenchError):
    """Something could not be measured."""

    exit_status = 3


_FULL = "the disk is full; free some space and run the same command again"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the quota is used up; free some space and run the same command again",
    errno.EROFS: "it is read-only; name another place with {option}",
    errno.EACCES: "no permission to write there; name another place with {option}",
    errno.EPERM: "no permission to write there; name another place with {option}",
    errno.ENOTDIR: "a file stands where a folder should be; name another one with {option}",
    errno.EEXIST: "a file stands where a folder should be; name another one with {option}",
    errno.EISDIR: "a folder stands where a file should be; name another one with {option}",
    errno.ENAMETOOLONG: "the name is too long; name another one with {option}",
}
_FOREIGN = ("No space left", "os error 28", "PytorchStreamWriter", "unexpected pos")
"""How safetensors and torch's zip writer, in words of their own, report a full disk."""


@contextlib.contextmanager
def explained(path: Path, option: str = "--store") -> Iterator[None]:
    """Turn a failure to write at `path`, which the user named by `option`, into one clear line."""
    try:
        yield
    except UmbenchError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0)
        if reason is None or _elsewhere(path, error):
            raise
        raise InputError(f"{path}: {reason.format(option=option)}") from None
    except Exception as error:
        if any(words in str(error) for words in _FOREIGN):
            raise InputError(f"{path}: {_FULL}") from None
        raise


def _elsewhere(path: Path, error: OSError) -> bool:
    """Whether the system names files, and none of them lies at or beside `path`, or above it."""
    here = path.absolute().parent
    named = [Path(str(n)).absolute() for n in (error.filename, error.filename2) if n is not None]
    return bool(named) and not any(n.is_relative_to(here) or here.is_relative_to(n) for n in named)
