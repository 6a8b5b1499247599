"""Feature extractors: a registry of names, each loaded when it is asked for."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from umbench_metrics.plugins import nearest, plugged

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from torch import Tensor

ENTRY_POINTS = "umbench.extractors"
BUILT_IN = {
    "efficientnet-lite0": "umbench_metrics.extractors.efficientnet_lite0",
    "inception-v3": "umbench_metrics.extractors.inception_v3",
}


class Extractor(Protocol):
    """Images (N, 1, H, W) float32 in [0, 1] to features (N, dim) float32.

    fingerprint: SHA-256 over weights, preprocessing and dtype; values of different fingerprints
    are not compared. One may also have a `device`, on which it then gets its images.
    """

    name: str
    dim: int
    fingerprint: str

    def __call__(self, images: Tensor) -> Tensor:
        """Extract features."""


TASKS = {name: "umbench_metrics.extractors.task" for name in ("sex", "age", "source")}
"""Extractors that are trained on the set at hand; their names are taken as well."""


def names() -> list[str]:
    """Names of the extractors that need no training, the built-in ones first."""
    return [*BUILT_IN, *_others()]


def source(name: str) -> str:
    """The module, dotted, whose source decides what an extractor computes; it is not imported.

    ValueError for an unknown name.
    """
    found = {**BUILT_IN, **TASKS, **{name: point.module for name, point in _others().items()}}
    if name not in found:
        raise ValueError(f"no extractor called {name!r}; {nearest(name, list(found))}")
    return found[name]


def _others() -> dict[str, EntryPoint]:
    return plugged(ENTRY_POINTS, {**BUILT_IN, **TASKS}, "extractor")


def available(name: str) -> tuple[bool, str]:
    """Whether `load(name)` would work here, and where its weights are or would have to be."""
    if name in BUILT_IN:
        ready, remark = importlib.import_module(BUILT_IN[name]).available()
        return bool(ready), str(remark)
    if name in _others():
        return True, "plug-in"
    return False, f"there is no such extractor; {nearest(name, names())}"


def inputs(name: str) -> tuple[str, ...]:
    """In what forms the extractor called `name` takes images, the default first; () where in one.

    >>> inputs("inception-v3"), inputs("efficientnet-lite0")
    (('fixed', 'native'), ())
    """
    if name not in BUILT_IN:
        return ()
    modes: tuple[str, ...] = getattr(importlib.import_module(BUILT_IN[name]), "INPUTS", ())
    return modes


def load(name: str, input: str | None = None) -> Extractor:
    """The extractor called `name`; ValueError says what is missing.

    input: one of `inputs(name)`, None for the first of them; None where there is no choice.
    """
    ready, remark = available(name)
    if not ready:
        raise ValueError(f"extractor {name}: {remark}")
    modes = inputs(name)
    if input is not None and input not in modes:
        choice = (
            f"use {' or '.join(modes)}" if modes else "it takes images in one form; leave it out"
        )
        raise ValueError(f"extractor {name}: input is {input!r}; {choice}")
    if name in BUILT_IN:
        module = importlib.import_module(BUILT_IN[name])
        extractor: Extractor = module.load(input or modes[0]) if modes else module.load()
        return extractor
    foreign: Extractor = _others()[name].load()()
    return foreign


def check_sha256(path: Path, expected: str) -> None:
    """ValueError where a weights file is not the pinned one: truncated, swapped or newer."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path}: SHA-256 is {found[:16]}..., expected {expected[:16]}...; fetch it again"
        )
