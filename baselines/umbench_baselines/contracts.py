"""What goes into a generator and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from umbench_baselines.training import TrainingRun


@dataclass(frozen=True)
class TrainingData:
    """Real images with their guidance; only some carry a label mask.

    images: (N, 1, H, W) float32 in [0, 1]. guidance: (N, 1, H, W) float32 in [0, 255], the
    unsupervised masks, multiples of `t` (superpixel means where t = 0). masks: (N, H, W) int64
    class numbers below `classes`; rows where `labelled` (N,) bool is false hold zeros and must
    not be read.
    """

    images: Tensor
    guidance: Tensor
    masks: Tensor
    labelled: Tensor
    classes: int
    t: int


@dataclass(frozen=True)
class AnnotatedBatch:
    """Generated images with their annotations.

    images: (N, 1, H, W) float32 in [0, 1]. masks: (N, H, W) int64. conditions: (N, 1, H, W)
    float32 in [0, 255], the guidance that each image was made from, or None.
    """

    images: Tensor
    masks: Tensor
    conditions: Tensor | None = None


class Generator(Protocol):
    """A benchmark entry. A third party registers one under `umbench.generators`."""

    def train(self, data: TrainingData, run: TrainingRun) -> None:
        """Train; goes on from the run's last checkpoint where there is one."""

    def sample(self, count: int, seed: int, conditions: Tensor | None) -> AnnotatedBatch:
        """Draw `count` annotated images; the same seed gives the same images."""
