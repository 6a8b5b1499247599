"""`kid`: the kernel distance, an unbiased estimate whose value does not depend on how many images.

With a kernel k the squared maximum mean discrepancy is E k(r, r') + E k(s, s') - 2 E k(r, s) over
different images of both sets. Bińkowski et al. 2018, Gretton et al. 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from umbench_metrics.metric import Measured
from umbench_metrics.panel import checked
from umbench_metrics.scales import Distance

if TYPE_CHECKING:
    from umbench_metrics.panel import Features

DEGREE, COEFFICIENT = 3, 1.0
BLOCKS = 20


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance and what it was computed from.

    standard_error: NaN and interval (low, high) at 95 %: None where there are too few images for
    blocks. The value is an unbiased estimate, so it may be negative.
    """

    value: float
    standard_error: float
    interval: tuple[float, float] | None
    n_real: int
    n_synthetic: int


def kernel_distance(
    real: np.ndarray, synthetic: np.ndarray, *, blocks: int = BLOCKS
) -> KernelDistance:
    """Squared maximum mean discrepancy with the kernel (x·y / D + 1)³, unbiased.

    Each side: features (n, D), n >= 2, finite. Computed in float64. The standard error is a
    jackknife that leaves out one of `blocks` runs of neighbouring images from both sets at a time
    (fewer where sets are small; at least 2 images are left), the interval Student's. Images of one
    subject should be neighbours, so that a block holds them together. ValueError for NaN, n < 2,
    unequal D.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> kernel_distance(x, x + 2.0).value > kernel_distance(x, x + 1.0).value > 0
    True
    """
    from scipy.special import stdtrit

    r, s = checked(real, "real"), checked(synthetic, "synthetic")
    if r.shape[1] != s.shape[1]:
        raise ValueError(f"features differ in dimension: {r.shape[1]} and {s.shape[1]}")
    count = min(blocks, len(r) // 2, len(s) // 2)
    if count < 2:
        (value,) = _jackknife(r, s, 1, np.ones((1, 1)))
        return KernelDistance(float(value), float("nan"), None, len(r), len(s))
    value, *left = _jackknife(r, s, count, np.vstack([np.ones(count), 1 - np.eye(count)]))
    error = float(np.sqrt((count - 1) * np.var(left)))
    reach = error * float(stdtrit(count - 1, 0.975))
    interval = float(value) - reach, float(value) + reach
    return KernelDistance(float(value), error, interval, len(r), len(s))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(n, m) of features (n, D) and (m, D)."""
    out: np.ndarray = (x @ y.T / x.shape[1] + COEFFICIENT) ** DEGREE
    return out


def _jackknife(r: np.ndarray, s: np.ndarray, count: int, kept: np.ndarray) -> np.ndarray:
    """Distances (P,) over the blocks that kept (P, count) marks with 1."""
    blocks = [np.array_split(np.arange(len(side)), count) for side in (r, s)]
    starts = [[block[0] for block in blocks_of] for blocks_of in blocks]
    n, m = (kept @ [len(block) for block in blocks_of] for blocks_of in blocks)

    def sums(x: int, y: int) -> np.ndarray:
        """Of the kernel over pairs of kept images, those of an image with itself left out."""
        kernel = _kernel((r, s)[x], (r, s)[y])
        if x == y:
            np.fill_diagonal(kernel, 0.0)
        by_block = np.add.reduceat(np.add.reduceat(kernel, starts[x], axis=0), starts[y], axis=1)
        out: np.ndarray = np.einsum("pb,bc,pc->p", kept, by_block, kept)
        return out

    out: np.ndarray = (
        sums(0, 0) / (n * (n - 1)) + sums(1, 1) / (m * (m - 1)) - 2 * sums(0, 1) / (n * m)
    )
    return out


class KID(Distance):
    """Mean over observations of the normalised kernel distance."""

    name, score = "kid", "kernel-distance"
    label, aspect, direction = "KID", "Fidelity", "lower"
    means, values = "kernel distance", "Kernel distances"
    interval = (
        "Raw values with a 95 % interval, from a jackknife over blocks of images; unbiased, so "
        "that a set as good as new real images may score below 0."
    )

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The distance."""
        return kernel_distance(real, synthetic, blocks=1).value

    def value(self, real: Features, synthetic: Features, seed: int) -> Measured:
        """Mean over folds of the distance and of both ends of its interval."""
        folds = zip(real.folds, synthetic.folds, strict=True)
        distances = [kernel_distance(r, s) for r, s in folds]
        nothing = (float("nan"), float("nan"))
        low, high = np.mean([d.interval or nothing for d in distances], axis=0)
        return Measured(float(np.mean([d.value for d in distances])), float(low), float(high))

    def differences(
        self, real: np.ndarray, pool: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> np.ndarray:
        """See `umbench_metrics.metric.Resampled`; the real images' own part cancels."""
        real, pool = (np.asarray(x, dtype=np.float64) for x in (real, pool))
        kernel, cross = _kernel(pool, pool), _kernel(real, pool).mean(axis=0)

        def of(rows: np.ndarray) -> np.ndarray:
            n = rows.shape[1]
            counts = np.stack([np.bincount(row, minlength=len(pool)) for row in rows]).astype(float)
            inner = np.einsum("pi,pi->p", counts @ kernel, counts) - counts @ np.diag(kernel)
            out: np.ndarray = inner / (n * (n - 1)) - 2 * (counts @ cross) / n
            return out

        apart: np.ndarray = of(first) - of(second)
        return apart

    def size(self, real: np.ndarray, both: np.ndarray) -> float:
        """The biased estimate over both methods' images together, which cannot be negative."""
        r, b = (np.asarray(x, dtype=np.float64) for x in (real, both))
        value = _kernel(r, r).mean() + _kernel(b, b).mean() - 2 * _kernel(r, b).mean()
        return max(float(value), 0.0)
