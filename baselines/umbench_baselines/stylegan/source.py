"""Where a StyleGAN's training images come from: read when drawn, reduced once per stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.training import batches

STEPS = 65_535
"""Steps between -1 and 1 of a reduced copy: what is read back is at most 1 / STEPS off."""

CHUNK_VALUES = 2**22
"""Values that are held as floats while a copy is made (16 MiB, a few times over)."""


class Source(Protocol):
    """Square images that are read, not held."""

    @property
    def channels(self) -> int:
        """Number of channels."""

    @property
    def size(self) -> int:
        """Side in pixels."""

    def __len__(self) -> int: ...

    def batch(self, rows: Tensor) -> Tensor:
        """Images (n, channels, size, size) float32 in [-1, 1] on the CPU, in the rows' order."""


@dataclass(frozen=True)
class Reduced:
    """A small copy of all images, 16 bits a value: (N, C, S, S) uint16, 0 for -1, STEPS for 1."""

    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.values.shape[2]

    def batch(self, rows: Tensor) -> Tensor:
        """As `Source.batch`."""
        # torch has no arithmetic on uint16
        stored = torch.from_numpy(self.values[np.asarray(rows)].astype(np.int32))
        return stored.float() * (2 / STEPS) - 1


def reduced(images: Source, side: int) -> Source:
    """The images averaged over areas down to `side`; the source itself where that is its size.

    Made chunk by chunk: beside 2 bytes a value, floats of one chunk of whole images are held.
    For one-hot masks the averages are the shares of the classes, so that thin structures fade
    instead of vanishing.
    """
    if side == images.size:
        return images
    values = np.empty((len(images), images.channels, side, side), dtype=np.uint16)
    chunk = max(1, CHUNK_VALUES // (images.channels * images.size**2))
    for rows in batches(len(images), chunk):
        # in a function of its own: nothing of a chunk outlives it
        values[rows] = _steps(images, rows, side)
    return Reduced(values)


def _steps(images: Source, rows: slice, side: int) -> np.ndarray:
    """Some images at a side, in steps between -1 and 1: int32."""
    whole = images.batch(torch.arange(rows.start, rows.stop))
    small = functional.interpolate(whole, side, mode="area")
    return ((small.clamp(-1, 1) + 1) * (STEPS / 2)).round().to(torch.int32).numpy()
