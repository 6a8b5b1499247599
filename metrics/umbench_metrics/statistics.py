"""Mergeable moments: the mean and scatter of features, in any order and any batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Moments:
    """n, mean (D,) and scatter m2 (D, D) = sum of outer products of centred features, float64."""

    n: int
    mean: np.ndarray
    m2: np.ndarray

    def covariance(self) -> np.ndarray:
        """Covariance (D, D) with ddof 1; ValueError for n < 2."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 images, not {self.n}")
        return self.m2 / (self.n - 1)

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets together (Chan et al. 1979); ValueError for unequal D."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"dimensions differ: {self.mean.size} and {other.mean.size}")
        n = self.n + other.n
        delta = other.mean - self.mean
        mean = self.mean + delta * (other.n / n)
        m2 = self.m2 + other.m2 + np.outer(delta, delta) * (self.n * other.n / n)
        return Moments(n, mean, m2)

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        save_file({"n": np.array([self.n]), "mean": self.mean, "m2": self.m2}, path)


def moments_of(features: np.ndarray) -> Moments:
    """Moments of features (n, D), computed in float64."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"features must be finite and (n, D) with n >= 1, not {x.shape}")
    mean = x.mean(axis=0)
    centred = x - mean
    return Moments(len(x), mean, centred.T @ centred)


def load_moments(path: Path) -> Moments:
    """Read what `Moments.save` wrote."""
    from safetensors.numpy import load_file

    arrays = load_file(path)
    return Moments(int(arrays["n"][0]), arrays["mean"], arrays["m2"])
