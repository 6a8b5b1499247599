"""What training a part and drawing with it take, as told before anything is trained.

A part names a module by `COST` that has `training(part, setting)` and `drawing(part, setting)`.
It is named, not imported, so that what tells of a training is none of the code that it depends on.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass

from umbench_baselines.contracts import Budget, Part

ADAM = 2
"""Copies of the weights that Adam keeps: means of gradients and of their squares."""
FLOATS = 3
"""Copies of a batch on the host while it is read: as stored, as floats, and on its way."""


@dataclass(frozen=True)
class Place:
    """Where networks are trained: how many GPUs (0: on the CPU), and in which precision."""

    gpus: int
    precision: str

    @property
    def processes(self) -> int:
        """That train one network together."""
        return max(1, self.gpus)

    def share(self, batch: int) -> int:
        """Rows of a batch in the largest share, as `umbench_baselines.training.share` cuts it."""
        return math.ceil(batch / max(1, min(self.processes, batch // 2)))

    def all(self, batch: int) -> float:
        """What the work on one share is multiplied by to get that on the batch."""
        return batch / self.share(batch)


@dataclass(frozen=True)
class Setting:
    """What costs depend on beside a part: `train` images of side `size`, `labelled` of them with
    label maps of so many classes; the budget, and the place.
    """

    size: int
    classes: int
    train: int
    labelled: int
    budget: Budget
    place: Place

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.size**2

    def seen(self, *, labelled_alone: bool) -> int:
        """Images that a part is trained on."""
        return self.labelled if labelled_alone else self.train


@dataclass(frozen=True)
class Training:
    """operations: of the whole training. stays: bytes of weights, averages and what optimisers
    keep. alive: bytes beside them at the peak. model: bytes of the result. checkpoint: of one.
    reads: bytes on the host while data are read. files: bytes on disk until it is done, beside
    checkpoints.
    """

    operations: float
    stays: int
    alive: int
    model: int
    checkpoint: int
    reads: float = 0
    files: float = 0


@dataclass(frozen=True)
class Drawing:
    """operations: of one image drawn. stays: bytes of weights. alive: bytes beside them at the
    peak. drawn: images that are drawn for each that is kept.
    """

    operations: float
    stays: int
    alive: int
    drawn: float = 1.0


def training(part: Part, setting: Setting) -> Training | None:
    """What training a part takes; None where its `COST` is not told."""
    if part.COST is None:
        return None
    found: Training = importlib.import_module(part.COST).training(part, setting)
    return found


def drawing(part: Part, setting: Setting) -> Drawing | None:
    """What drawing an image takes of a part's network; None where its `COST` is not told."""
    if part.COST is None:
        return None
    found: Drawing = importlib.import_module(part.COST).drawing(part, setting)
    return found
