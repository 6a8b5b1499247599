"""Feature extractors: a registry of names, each loaded when it is asked for."""

from __future__ import annotations

import difflib
import hashlib
import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
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


def names() -> list[str]:
    """Names of the extractors that need no training."""
    return [*BUILT_IN, *sorted(point.name for point in entry_points(group=ENTRY_POINTS))]


def available(name: str) -> tuple[bool, str]:
    """Whether `load(name)` would work here, and where its weights are or would have to be."""
    if name in BUILT_IN:
        ready, remark = importlib.import_module(BUILT_IN[name]).available()
        return bool(ready), str(remark)
    if name in names():
        return True, "plug-in"
    return False, f"no extractor called {name!r}"


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
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"; did you mean {near[0]!r}?" if near and near[0] != name else ""
        raise ValueError(f"extractor {name}: {remark}{hint}")
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
    point = next(p for p in entry_points(group=ENTRY_POINTS) if p.name == name)
    plugged: Extractor = point.load()()
    return plugged


def check_sha256(path: Path, expected: str) -> None:
    """ValueError where a weights file is not the pinned one: truncated, swapped or newer."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path}: SHA-256 is {found[:16]}..., expected {expected[:16]}...; fetch it again"
        )
