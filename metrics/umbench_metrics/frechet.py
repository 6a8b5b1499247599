"""The Fréchet distance, without a matrix square root and never negative.

With covariances S_r = A'A and S_s = B'B, tr (S_r S_s)^(1/2) is the nuclear norm of A B'. A is
the matrix of centred features over sqrt(n - 1), or any smaller factor with the same A'A.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umbench_metrics.panel import checked
from umbench_metrics.statistics import Moments

BLOCK_BYTES = 2**26  # working memory of subsets that are done at a time; more is no faster


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance and what it was computed from.

    interval: (low, high) at 95 %, or None where no bootstrap was asked for. rank: numerical rank
    of the cross matrix; below the feature dimension the value is biased upward by about 1/n.
    """

    value: float
    interval: tuple[float, float] | None
    rank: int
    n_real: int
    n_synthetic: int


def frechet_distance(
    real: np.ndarray | Moments,
    synthetic: np.ndarray | Moments,
    *,
    bootstrap: int = 0,
    seed: int = 0,
) -> Distance:
    """Squared 2-Wasserstein distance between Gaussians fitted to two sets of features.

    Each side: features (n, D), n >= 2, finite, or `Moments`. Computed in float64. With
    `bootstrap` replicates over images of both sets (features only) the interval holds the
    replicates' central 95 %, shifted so that their mean is the value: replicates repeat images,
    which biases them upward. Heusel et al. 2017; ValueError for NaN, n < 2, unequal D.

    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> round(frechet_distance(x, x + 2.0).value, 9)
    16.0
    """
    mean_r, factor_r, n_r = _factor(real, "real")
    mean_s, factor_s, n_s = _factor(synthetic, "synthetic")
    if mean_r.shape != mean_s.shape:
        raise ValueError(f"features differ in dimension: {mean_r.size} and {mean_s.size}")
    trace, rank = _bures(factor_r, factor_s)
    value = float(np.sum((mean_r - mean_s) ** 2)) + trace
    interval = None
    if bootstrap:
        if isinstance(real, Moments) or isinstance(synthetic, Moments):
            raise ValueError("a bootstrap over images needs features on both sides, not moments")
        interval = _interval(value, real, synthetic, bootstrap, seed)
    return Distance(value, interval, rank, n_r, n_s)


def _factor(side: np.ndarray | Moments, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean, a factor F of at most D rows with F'F = covariance, and n."""
    if isinstance(side, Moments):
        covariance = side.covariance()
        if not (np.isfinite(side.mean).all() and np.isfinite(covariance).all()):
            raise ValueError(f"{name}: moments hold NaN or infinity")
        values, vectors = np.linalg.eigh(covariance)
        # below this an eigenvalue is rounding, and its square root would count as spread
        kept = values > len(values) * np.finfo(np.float64).eps * max(values[-1], 0.0)
        return side.mean, np.sqrt(values[kept])[:, None] * vectors.T[kept], side.n
    features = checked(side, name)
    n, dim = features.shape
    mean = features.mean(axis=0)
    centred = (features - mean) / np.sqrt(n - 1)
    # a QR factor keeps the singular values exactly; the covariance itself would square them
    factor: np.ndarray = centred if n <= dim else np.asarray(np.linalg.qr(centred, mode="r"))
    return mean, factor, n


def _bures(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    """tr A'A + tr B'B - 2 |A B'|_* as a sum of squares, which cannot be negative.

    With A B' = U s V' it is |U'A - V'B|^2 plus what U and V leave of A and B.
    """
    import torch

    # torch's LAPACK is several times faster than numpy's on matrices of some hundred rows
    parts = torch.linalg.svd(torch.from_numpy(a @ b.T), full_matrices=False)
    u, s, vt = (part.numpy() for part in parts)
    ua, vb = u.T @ a, vt @ b
    value = float(np.sum((ua - vb) ** 2))
    if len(a) > len(ua):
        value += float(np.sum((a - u @ ua) ** 2))
    if len(b) > len(vb):
        value += float(np.sum((b - vt.T @ vb) ** 2))
    tolerance = max(len(a), len(b)) * np.finfo(np.float64).eps * (s[0] if len(s) else 0.0)
    return value, int(np.sum(s > tolerance))


def _interval(
    value: float, real: np.ndarray, synthetic: np.ndarray, count: int, seed: int
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    n_r, n_s = len(real), len(synthetic)
    rows = generator.integers(n_r, size=(count, n_r))
    columns = generator.integers(n_s, size=(count, n_s))
    drawn = list(zip(rows, columns, strict=True))
    replicates = np.empty(count)
    if min(n_r, n_s) > real.shape[1]:
        # with few features their factors are smaller than any product of images
        values = [frechet_distance(real[i], synthetic[j]).value for i, j in drawn]
        return _central(np.array(values), value)
    shift = np.asarray(real, dtype=np.float64).mean(axis=0)
    r, s = real - shift, synthetic - shift
    rr, ss, rs = r @ r.T, s @ s.T, r @ s.T
    most = min(n_r, n_s, r.shape[1] + 1) - 1  # rank of a centred cross matrix
    for k, (i, j) in enumerate(drawn):
        gram_r, gram_s, cross = rr[np.ix_(i, i)], ss[np.ix_(j, j)], rs[np.ix_(i, j)]
        means = gram_r.mean() + gram_s.mean() - 2 * cross.mean()
        trace_r = (np.trace(gram_r) - n_r * gram_r.mean()) / (n_r - 1)
        trace_s = (np.trace(gram_s) - n_s * gram_s.mean()) / (n_s - 1)
        centred = cross - cross.mean(0) - cross.mean(1)[:, None] + cross.mean()
        small = centred if n_r >= n_s else centred.T
        nuclear = np.sqrt(np.clip(np.linalg.eigvalsh(small.T @ small)[-most:], 0, None)).sum()
        replicates[k] = means + trace_r + trace_s - 2 * nuclear / np.sqrt((n_r - 1) * (n_s - 1))
    return _central(replicates, value)


def _central(replicates: np.ndarray, value: float) -> tuple[float, float]:
    """The replicates' central 95 %, shifted so that their mean is the value."""
    low, high = np.percentile(replicates - replicates.mean(), [2.5, 97.5]) + value
    return max(float(low), 0.0), float(high)


class GramFrechet:
    """Fréchet distances of many subsets of one pool of images, without work of size D.

    real: (n_r, D). synthetic: (m, D), the pool. Inner products are computed once; a subset of n
    images then costs the eigenvalues of one matrix of side min(n, D). Square roots of
    eigenvalues near 0 amplify rounding: the error is about 1e-8 of the largest singular value
    of the cross matrix, so that a distance near 0 may come out slightly negative.
    """

    def __init__(self, real: np.ndarray, synthetic: np.ndarray) -> None:
        mean, factor, n_real = _factor(real, "real")
        pool = np.asarray(synthetic, dtype=np.float64)
        if pool.ndim != 2 or pool.shape[1] != mean.size:
            raise ValueError(f"features differ in dimension: {mean.size} and {pool.shape[-1]}")
        if not np.isfinite(pool).all():
            raise ValueError("synthetic: features hold NaN or infinity")
        # about its own mean, or a distant pool would drown the scatter in rounding
        offset = pool.mean(axis=0) - mean
        pool = pool - (offset + mean)
        self.gram = pool @ pool.T
        self.along = 2 * pool @ offset
        self.gap = float(offset @ offset)
        self.projected = pool @ factor.T
        self.squared_cross = self.projected @ self.projected.T
        self.real_trace = float(np.sum(factor**2))
        self.real_rank = min(n_real - 1, mean.size)

    def distances(self, selections: np.ndarray) -> np.ndarray:
        """Distances (P,) of the subsets given as row numbers (P, n), n >= 2; rows may repeat."""
        selections = np.asarray(selections)
        if selections.ndim != 2 or selections.shape[1] < 2:
            raise ValueError(f"selections must be (P, n) with n >= 2, not {selections.shape}")
        side = min(selections.shape[1], self.projected.shape[1])
        block = max(1, BLOCK_BYTES // (8 * max(side, 1) * selections.shape[1] * 3))
        blocks = [
            self._distances(selections[start : start + block])
            for start in range(0, len(selections), block)
        ]
        return np.concatenate([np.empty(0), *blocks])

    def _distances(self, rows: np.ndarray) -> np.ndarray:
        n = rows.shape[1]
        counts = np.stack([np.bincount(row, minlength=len(self.gram)) for row in rows]) / n
        scatter = np.einsum("pi,pi->p", counts @ self.gram, counts)
        trace = (counts @ np.diag(self.gram) - scatter) * (n / (n - 1))
        means = self.gap + counts @ self.along + scatter
        # centring leaves eigenvalues that are 0 but for rounding: their roots are left out
        values = np.linalg.eigvalsh(self._squared(rows))[:, -min(n - 1, self.real_rank) :]
        nuclear = np.sqrt(np.clip(values, 0, None)).sum(axis=1) / np.sqrt(n - 1)
        out: np.ndarray = means + self.real_trace + trace - 2 * nuclear
        return out

    def _squared(self, rows: np.ndarray) -> np.ndarray:
        """The centred cross matrix times its transpose, on its smaller side, (P, k, k)."""
        if self.projected.shape[1] < rows.shape[1]:
            chosen = self.projected[rows]
            chosen = chosen - chosen.mean(axis=1, keepdims=True)
            product: np.ndarray = chosen.transpose(0, 2, 1) @ chosen
            return product
        flat = rows[:, :, None] * len(self.gram) + rows[:, None, :]
        squared: np.ndarray = self.squared_cross.ravel().take(flat)
        columns = squared.mean(axis=1, keepdims=True)
        squared -= columns
        squared -= columns.transpose(0, 2, 1) - columns.mean(axis=2, keepdims=True)
        return squared
