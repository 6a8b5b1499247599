"""`mm-fid`: the Fréchet distance of every extractor at every resolution, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from umbench_metrics.frechet import GramFrechet, frechet_distance
from umbench_metrics.metric import Column, Measured, Shown
from umbench_metrics.scales import Distance

if TYPE_CHECKING:
    from umbench_metrics.panel import Features

BOOTSTRAP = 200


class MMFID(Distance):
    """Mean over observations of the normalised Fréchet distance (paper, III.C.1)."""

    name, score = "mm-fid", "frechet-distance"
    label, aspect, direction = "MM-FID", "Fidelity", "lower"
    means, values = "Fréchet distance", "Fréchet distances"
    interval = (
        "Raw values with a 95 % bootstrap interval over images, for the value at this number of "
        "images; with fewer images than features it is wider than need be."
    )

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The distance."""
        return frechet_distance(real, synthetic).value

    def value(self, real: Features, synthetic: Features, seed: int) -> Measured:
        """Mean over folds of the distance and of both ends of its bootstrap interval."""
        distances = [
            frechet_distance(r, s, bootstrap=BOOTSTRAP, seed=seed)
            for r, s in zip(real.folds, synthetic.folds, strict=True)
        ]
        low, high = (
            float(np.mean([d.interval[side] for d in distances if d.interval])) for side in (0, 1)
        )
        return Measured(float(np.mean([d.value for d in distances])), low, high)

    def columns(self, shown: Shown) -> Sequence[Column]:
        """The scale shown, and the paper's beside it."""
        minmax = Column("mm_fid_minmax", "mm-fid-minmax", "lower", "min-max")
        return (*super().columns(shown), minmax)

    def explained(self, shown: Shown) -> str:
        """Both scales."""
        return f"{super().explained(shown)}; min-max is spanned by the generators alone"

    def differences(
        self, real: np.ndarray, pool: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> np.ndarray:
        """See `umbench_metrics.metric.Resampled`."""
        engine = GramFrechet(real, pool)
        out: np.ndarray = engine.distances(first) - engine.distances(second)
        return out

    def size(self, real: np.ndarray, both: np.ndarray) -> float:
        """The distance of both methods' images together."""
        return self.of_fold(real, both)
