"""`precision`, `recall`, `density`, `coverage`: who lies among whose nearest neighbours.

A set is taken to fill balls about its images that reach to their k-th neighbours in the set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umbench_metrics.metric import Plain
from umbench_metrics.panel import checked


@dataclass(frozen=True)
class PrecisionRecall:
    """precision: share of synthetic images in a real image's ball; recall: the other way round."""

    precision: float
    recall: float


@dataclass(frozen=True)
class DensityCoverage:
    """density: how many real images' balls a synthetic image lies in, over k, which is 1 where
    both sets are alike. coverage: share of real images with a synthetic one in their ball.
    """

    density: float
    coverage: float


def precision_recall(
    real: np.ndarray, synthetic: np.ndarray, *, neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall of features (n, D), finite, more than `neighbours` of each.

    In [0, 1]; the edge of a ball belongs to it. Kynkäänniemi et al. 2019. ValueError for NaN, too
    few images, unequal D.

    >>> x = np.arange(8.0)[:, None]
    >>> precision_recall(x, x[:4])
    PrecisionRecall(precision=1.0, recall=0.875)
    """
    return PrecisionRecall(
        precision=_precision(real, synthetic, neighbours),
        recall=_precision(synthetic, real, neighbours, ("synthetic", "real")),
    )


def density_coverage(
    real: np.ndarray, synthetic: np.ndarray, *, neighbours: int = 5
) -> DensityCoverage:
    """Density and coverage of features (n, D), finite, more than `neighbours` of the real ones.

    Density is 0 or more, coverage in [0, 1]; the edge of a ball does not belong to it. Naeem et
    al. 2020. ValueError for NaN, too few images, unequal D.

    >>> x = np.arange(8.0)[:, None]
    >>> density_coverage(x, x, neighbours=1)
    DensityCoverage(density=1.0, coverage=1.0)
    """
    radii, apart = _balls(real, synthetic, neighbours, ("real", "synthetic"))
    return DensityCoverage(
        density=float((apart < radii[:, None]).sum(axis=0).mean()) / neighbours,
        coverage=float((apart.min(axis=1) < radii).mean()),
    )


def _precision(
    balls: np.ndarray, points: np.ndarray, k: int, names: tuple[str, str] = ("real", "synthetic")
) -> float:
    """Share of points that lie in some ball."""
    radii, apart = _balls(balls, points, k, names)
    return float((apart <= radii[:, None]).any(axis=0).mean())


def _balls(
    centres: np.ndarray, points: np.ndarray, k: int, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Radii (n,) about the centres, and how far each is from every point (n, m)."""
    import torch

    given = zip((centres, points), names, (k + 1, 1), strict=True)
    sides = [torch.from_numpy(checked(side, name, least)) for side, name, least in given]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f"features differ in dimension: {sides[0].shape[1]}, {sides[1].shape[1]}")
    # pair by pair, not by inner products: equal images are 0 apart, on an edge means on the edge
    exact = "donot_use_mm_for_euclid_dist"
    among, apart = (torch.cdist(sides[0], side, compute_mode=exact) for side in sides)
    # an image is its own nearest neighbour, which does not count
    return among.kthvalue(k + 1, dim=1).values.numpy(), apart.numpy()


class Precision(Plain):
    """Share of synthetic images that look like real ones."""

    name = score = "precision"
    label, aspect, direction = "Precision", "Fidelity", "higher"
    means = "share of synthetic images within reach of a real one's 3 nearest neighbours"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """See `precision_recall`."""
        return _precision(real, synthetic, 3)


class Recall(Plain):
    """Share of real images that look like synthetic ones."""

    name = score = "recall"
    label, aspect, direction = "Recall", "Variety", "higher"
    means = "share of real images within reach of a synthetic one's 3 nearest neighbours"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """See `precision_recall`."""
        return _precision(synthetic, real, 3, ("synthetic", "real"))


class Density(Plain):
    """How many real images a synthetic one is close to.

    More than 1 is no merit: a set that collapses to where real images are dense has that.
    """

    name = score = "density"
    label, aspect, direction = "Density", "Fidelity", "near 1"
    means = "real images whose 5 nearest neighbours reach beyond a synthetic one, over 5"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """See `density_coverage`."""
        return density_coverage(real, synthetic).density


class Coverage(Plain):
    """Share of real images that have a synthetic one close by."""

    name = score = "coverage"
    label, aspect, direction = "Coverage", "Variety", "higher"
    means = "share of real images whose 5 nearest neighbours reach beyond a synthetic one"

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """See `density_coverage`."""
        return density_coverage(real, synthetic).coverage
