"""Time and agreement of routes to the Fréchet distance, side by side in one run.

    python benchmarks/frechet.py [--dim 2048] [--real 1000] [--synthetic 785] [--no-sqrtm]

Ratios carry over to another machine; seconds do not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from umbench_metrics.frechet import GramFrechet, frechet_distance
from umbench_metrics.statistics import moments_of


def features(rows: int, dim: int, seed: int) -> np.ndarray:
    """Correlated, non-negative and float32, as pooled features are."""
    generator = np.random.default_rng(seed)
    mix = np.random.default_rng(0).normal(size=(128, dim)).astype(np.float32) * 0.3
    latent = generator.normal(size=(rows, 128)).astype(np.float32)
    noise = generator.normal(size=(rows, dim)).astype(np.float32)
    return np.abs(latent @ mix + 0.3 * noise + 0.1 * seed)


def timed(call: Callable[[], float], repeats: int = 3) -> tuple[float, float]:
    """The value, and the shortest of several times in seconds."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        best = min(best, time.perf_counter() - start)
    return value, best


def by_torch_fidelity(x: np.ndarray, y: np.ndarray) -> float:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    sides = [fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    return float(fid_statistics_to_metric(*sides, False)["frechet_inception_distance"])


def by_square_root(x: np.ndarray, y: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    s, t = (np.cov(side.astype(np.float64), rowvar=False) for side in (x, y))
    gap = x.mean(axis=0, dtype=np.float64) - y.mean(axis=0, dtype=np.float64)
    return float(gap @ gap + np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(s @ t).real))


def compare(real: int, synthetic: int, dim: int, with_sqrtm: bool) -> None:
    x, y = features(real, dim, 1), features(synthetic, dim, 2)
    moments = moments_of(x)
    routes: list[tuple[str, Callable[[], float], int]] = [
        ("umbench, features", lambda: frechet_distance(x, y).value, 3),
        ("umbench, stored moments of real", lambda: frechet_distance(moments, y).value, 2),
        ("torch-fidelity", lambda: by_torch_fidelity(x, y), 2),
    ]
    if with_sqrtm:
        routes.append(("scipy sqrtm", lambda: by_square_root(x, y), 1))
    print(f"{real} x {synthetic} images, {dim} dimensions, covariances included")
    print(f"{'route':34}{'seconds':>9}{'ratio':>8}{'relative difference':>21}")
    reference = first = 0.0
    for name, call, repeats in routes:
        value, seconds = timed(call, repeats)
        if not first:
            reference, first = value, seconds
        difference = abs(value - reference) / reference
        print(f"{name:34}{seconds:9.3f}{seconds / first:8.1f}{difference:21.1e}")


def permutations(n: int, dim: int, count: int = 500) -> None:
    """Both distances of a relabelling; the inner products are a cost once per observation."""
    real, pool = features(n, dim, 1), features(2 * n, dim, 2)
    generator = np.random.default_rng(0)
    orders = np.stack([generator.permutation(2 * n) for _ in range(count)])
    engine, setup = timed_engine(real, pool)
    _, fast = timed(lambda: engine.distances(np.concatenate([orders[:, :n], orders[:, n:]])).sum())
    some = orders[:10, :n]
    values, slow = np.empty(10), time.perf_counter()
    for k, rows in enumerate(some):
        values[k] = frechet_distance(real, pool[rows]).value
    slow = (time.perf_counter() - slow) / 10 * 2
    error = np.max(np.abs(engine.distances(some) / values - 1))
    print(
        f"n = {n:4}: {1e3 * fast / count:.3f} ms a permutation (two distances), set up in "
        f"{1e3 * setup:.1f} ms; {slow / (fast / count):.0f} times faster than from features, "
        f"relative difference {error:.1e}"
    )


def timed_engine(real: np.ndarray, pool: np.ndarray) -> tuple[GramFrechet, float]:
    start = time.perf_counter()
    engine = GramFrechet(real, pool)
    return engine, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--real", type=int, default=1000)
    parser.add_argument("--synthetic", type=int, default=785)
    parser.add_argument("--no-sqrtm", action="store_true", help="leave out the slowest route")
    options = parser.parse_args()
    compare(options.real, options.synthetic, options.dim, not options.no_sqrtm)
    print(f"\npermutation test, {options.dim} dimensions")
    for n in (60, 100):
        permutations(n, options.dim)


if __name__ == "__main__":
    main()
