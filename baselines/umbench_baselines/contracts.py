"""What goes into a generator and what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from umbench_baselines.training import TrainingRun


@dataclass(frozen=True)
class Pictures:
    """Grey pictures as they are stored; a batch is converted when it is asked for.

    values: (M, H, W) uint8 or uint16, often a memory map, never copied whole. rows: (N,) the row
    numbers of `values` that these pictures are, in their order.
    """

    values: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Pictures:
        """All rows of an array."""
        return cls(values, np.arange(len(values)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[1], self.values.shape[2]

    def take(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Pictures:
        """Some of these pictures, in the order given; nothing is read."""
        return Pictures(self.values, self.rows[as_rows(rows)])

    def batch(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Tensor:
        """Pictures (n, 1, H, W) float32 in [0, 1]; 1 is the largest value of the stored type."""
        import torch

        stored = _read(self.values, self.rows[as_rows(rows)])
        top = float(np.iinfo(stored.dtype).max)
        # torch has no arithmetic on uint16
        wide = stored if stored.dtype == np.uint8 else stored.astype(np.int32)
        return torch.from_numpy(wide)[:, None].float() / top


@dataclass(frozen=True)
class LabelMaps:
    """Label maps as they are stored, and which of them may be read.

    values: (M, H, W) uint8 class numbers. rows: (N,) as in `Pictures`. numbers: the class number
    of each class index, ascending. known: (N,) bool; rows where it is false come out as zeros.
    """

    values: np.ndarray
    rows: np.ndarray
    numbers: tuple[int, ...]
    known: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, classes: int) -> LabelMaps:
        """All rows of an array of class indices below `classes`, all of them known."""
        everything = np.ones(len(values), dtype=bool)
        return cls(values, np.arange(len(values)), tuple(range(classes)), everything)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> LabelMaps:
        """Some of these maps, in the order given; nothing is read."""
        chosen = as_rows(rows)
        return LabelMaps(self.values, self.rows[chosen], self.numbers, self.known[chosen])

    def batch(self, rows: Tensor | np.ndarray | slice | Sequence[int]) -> Tensor:
        """Class indices (n, H, W) int64; zeros where a map may not be read."""
        import torch

        chosen = as_rows(rows)
        table = np.zeros(256, dtype=np.uint8)
        table[list(self.numbers)] = np.arange(len(self.numbers))
        indices = table[_read(self.values, self.rows[chosen])]
        indices[~self.known[chosen]] = 0
        return torch.from_numpy(indices).long()


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Class indices (N, H, W) to (N, classes, H, W) float32."""
    from torch.nn import functional

    return functional.one_hot(labels, classes).permute(0, 3, 1, 2).float()


def as_rows(rows: Tensor | np.ndarray | slice | Sequence[int]) -> np.ndarray | slice:
    """Row numbers or a mask of any kind as what numpy indexes with."""
    return rows if isinstance(rows, slice) else np.asarray(rows)


def _read(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy rows into memory of their own: a plain, writable array."""
    return np.array(values[rows])


@dataclass(frozen=True)
class TrainingData:
    """Real images with their guidance; only some carry a label map.

    images: N pictures. guidance: the unsupervised masks as N pictures of uint8, multiples of `t`
    on the scale 0 .. 255 (superpixel means where t = 0); None where nothing needs them. masks: N
    label maps with class indices below `classes`, known where `labelled` (N,) bool. Nothing is
    held as floats: batches are converted when they are drawn.
    """

    images: Pictures
    guidance: Pictures | None
    masks: LabelMaps
    labelled: Tensor
    classes: int
    t: int

    def take(self, rows: Tensor) -> TrainingData:
        """Some of the rows, in the order given (numbers, or a mask)."""
        return TrainingData(
            images=self.images.take(rows),
            guidance=None if self.guidance is None else self.guidance.take(rows),
            masks=self.masks.take(rows),
            labelled=self.labelled[rows],
            classes=self.classes,
            t=self.t,
        )


@dataclass(frozen=True)
class AnnotatedBatch:
    """Generated images with their annotations.

    images: (N, 1, H, W) float32 in [0, 1]. masks: (N, H, W) int64, or None from a generator of
    images alone. conditions: (N, 1, H, W) float32 in [0, 255], the guidance that each image was
    made from, or None. doubt: (N,) how uncertain an annotation is, where a generator draws more
    than it keeps, or None.
    """

    images: Tensor
    masks: Tensor | None
    conditions: Tensor | None = None
    doubt: Tensor | None = None


class Generator(Protocol):
    """A benchmark entry. A third party registers one under `umbench.generators`."""

    def train(self, data: TrainingData, run: TrainingRun) -> None:
        """Train; goes on from the run's last checkpoint where there is one."""

    def sample(self, count: int, seed: int, conditions: Tensor | None) -> AnnotatedBatch:
        """Draw `count` annotated images; the same seed gives the same images."""
