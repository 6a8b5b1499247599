"""Where a StyleGAN's training images come from: read when drawn, reduced once per stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.contracts import TrainingData, one_hot
from umbench_baselines.training import Devices, batches

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
class Drawn:
    """What G1 learns to draw: "masks" as one channel per class, "guidance" or "images" as grey."""

    data: TrainingData
    target: str

    def __len__(self) -> int:
        return len(self.data.images)

    @property
    def channels(self) -> int:
        """One, or the number of classes."""
        return self.data.classes if self.target == "masks" else 1

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.data.images.size[0]

    def batch(self, rows: Any) -> Tensor:
        """(n, channels, size, size) float32 in [-1, 1]."""
        if self.target == "masks":
            return one_hot(self.data.masks.batch(rows), self.data.classes) * 2 - 1
        pictures = self.data.guidance if self.target == "guidance" else self.data.images
        if pictures is None:
            raise ValueError("this part learns from guidance, and the training data have none")
        return pictures.batch(rows) * 2 - 1


@dataclass(frozen=True)
class Reduced:
    """A small copy of all images, 16 bits a value: (N, C, S, S) uint16, 0 for -1, STEPS for 1.

    Mostly a memory map.
    """

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


def reduced(images: Source, side: int, folder: Path, devices: Devices) -> Source:
    """The images averaged over areas down to `side`; the source itself where that is its size.

    Made chunk by chunk, so that only one chunk of whole images is held as floats. The copy lies in
    a file that has no name once every process of a training has mapped it: they share its pages,
    the system may drop them, and none is left behind. For one-hot masks the averages are the
    shares of the classes, so that thin structures fade instead of vanishing.
    """
    if side == images.size:
        return images
    path = folder / f"reduced-{side}.npy"
    if devices.main:
        _write(path, images, side)
    devices.accelerator.wait_for_everyone()
    values = np.load(path, mmap_mode="r")
    devices.accelerator.wait_for_everyone()
    if devices.main:
        path.unlink()
    return Reduced(values)


def _write(path: Path, images: Source, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(images), images.channels, side, side)
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=shape)
    chunk = max(1, CHUNK_VALUES // (images.channels * images.size**2))
    for rows in batches(len(images), chunk):
        # in a function of its own: nothing of a chunk outlives it
        values[rows] = _steps(images, rows, side)
    values.flush()


def _steps(images: Source, rows: slice, side: int) -> np.ndarray:
    """Some images at a side, in steps between -1 and 1: int32."""
    whole = images.batch(torch.arange(rows.start, rows.stop))
    small = functional.interpolate(whole, side, mode="area")
    return ((small.clamp(-1, 1) + 1) * (STEPS / 2)).round().to(torch.int32).numpy()
