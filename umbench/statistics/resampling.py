"""Tests that resample images: the unit that was drawn, where observations were not.

Observations of one comparison share their images and networks. A permutation test swaps images
between two methods, the same swap in every observation, and computes all distances anew; under
the null hypothesis that both draw from one distribution its p value is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from umbench_metrics.frechet import GramFrechet, frechet_distance

from umbench.statistics.paired import wilcoxon_paired


@dataclass(frozen=True)
class Sighting:
    """Features of the reference and of two methods in one observation, one array per fold.

    real: (n_r, D) per fold. a, b: (n_k, D) per fold, the same number of images for both methods
    and the same images in every observation. scale: what the distance is divided by.
    """

    real: Sequence[np.ndarray]
    a: Sequence[np.ndarray]
    b: Sequence[np.ndarray]
    scale: float = 1.0


@dataclass(frozen=True)
class ResamplingTest:
    """Two-sided p, the observed mean difference a - b, and how many permutations gave it."""

    p: float
    difference: float
    permutations: int


def permutation_test(
    sightings: Sequence[Sighting], *, permutations: int, seed: int, paired: bool = False
) -> ResamplingTest:
    """Is a closer to the reference than b? Statistic: mean over observations of FD_a - FD_b.

    paired: image i of both methods was made from the same condition, so images are swapped pair
    by pair; otherwise all images are shuffled. Folds are permuted within. Observations with
    other folds than the rest use the images of these folds in order. Phipson and Smyth 2010.
    """
    layouts = {tuple(len(fold) for fold in s.a) for s in sightings}
    total = {sum(layout) for layout in layouts}
    if len(total) != 1:
        raise ValueError(f"observations differ in their number of images: {sorted(total)}")
    labels = _relabelled(sightings, permutations, seed, paired)
    statistics = np.zeros(permutations + 1)
    for sighting in sightings:
        statistics += _differences(sighting, labels) / sighting.scale
    statistics /= len(sightings)
    # the observed value is among the permuted ones; equal up to rounding counts as equal
    slack = 1e-9 * (np.abs(statistics).max() + 1e-300)
    extreme = int(np.sum(np.abs(statistics[1:]) >= abs(statistics[0]) - slack))
    return ResamplingTest((1 + extreme) / (1 + permutations), float(statistics[0]), permutations)


def _fold_numbers(sizes: Sequence[int], count: int) -> list[np.ndarray]:
    """Image numbers per fold: all in one, or every k-th, as cross-fitting deals them."""
    folds = len(sizes)
    return [np.arange(count)[k::folds] for k in range(folds)]


def _relabelled(
    sightings: Sequence[Sighting], permutations: int, seed: int, paired: bool
) -> np.ndarray:
    """(P + 1, 2 n) pool numbers, the first n of each row being called a; row 0 as observed.

    Pool numbers are 0 .. n - 1 for images of a and n .. 2 n - 1 for b. With cross-fitted
    observations images keep to their fold, so that one relabelling serves all observations.
    """
    generator = np.random.default_rng(seed)
    most = max(sightings, key=lambda s: len(s.a))
    n = sum(len(fold) for fold in most.a)
    labels = np.tile(np.arange(2 * n), (permutations + 1, 1))
    for numbers in _fold_numbers([len(f) for f in most.a], n):
        pool = np.concatenate([numbers, numbers + n])
        for row in labels[1:]:
            if paired:
                swap = generator.random(len(numbers)) < 0.5
                row[numbers] = np.where(swap, numbers + n, numbers)
                row[numbers + n] = np.where(swap, numbers, numbers + n)
            else:
                row[pool] = generator.permutation(pool)
    return labels


def _differences(sighting: Sighting, labels: np.ndarray) -> np.ndarray:
    """FD_a - FD_b for every relabelling, mean over folds."""
    n = labels.shape[1] // 2
    sizes = [len(fold) for fold in sighting.a]
    out = np.zeros(len(labels))
    for k, numbers in enumerate(_fold_numbers(sizes, n)):
        engine = GramFrechet(sighting.real[k], np.concatenate([sighting.a[k], sighting.b[k]]))
        place = np.full(2 * n, -1)
        place[numbers] = np.arange(len(numbers))
        place[numbers + n] = np.arange(len(numbers)) + len(numbers)
        out += engine.distances(place[labels[:, numbers]])
        out -= engine.distances(place[labels[:, numbers + n]])
    return out / len(sizes)


def variety_test(
    sightings: Sequence[Sighting], *, permutations: int, seed: int, paired: bool = False
) -> ResamplingTest:
    """The same for variety: mean over observations of the difference of feature STDs."""
    labels = _relabelled(sightings, permutations, seed, paired)
    n = labels.shape[1] // 2
    statistics = np.zeros(permutations + 1)
    for sighting in sightings:
        sizes = [len(fold) for fold in sighting.a]
        for k, numbers in enumerate(_fold_numbers(sizes, n)):
            pool = np.concatenate([sighting.a[k], sighting.b[k]]).astype(np.float64)
            pool -= pool.mean(axis=0)
            place = np.full(2 * n, -1)
            place[numbers] = np.arange(len(numbers))
            place[numbers + n] = np.arange(len(numbers)) + len(numbers)
            a = _stds(pool, place[labels[:, numbers]])
            b = _stds(pool, place[labels[:, numbers + n]])
            statistics += (a - b) / sighting.scale / len(sizes)
    statistics /= len(sightings)
    slack = 1e-9 * (np.abs(statistics).max() + 1e-300)
    extreme = int(np.sum(np.abs(statistics[1:]) >= abs(statistics[0]) - slack))
    return ResamplingTest((1 + extreme) / (1 + permutations), float(statistics[0]), permutations)


def _stds(pool: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean over dimensions of the STD (ddof 1) for every row selection (P, n)."""
    n = rows.shape[1]
    chosen = np.zeros((len(rows), len(pool)))
    np.put_along_axis(chosen, rows, 1.0, axis=1)
    first, second = chosen @ pool, chosen @ pool**2
    return np.sqrt(np.clip(second - first**2 / n, 0, None) / (n - 1)).mean(axis=1)


def sign_flip_test(differences: np.ndarray, *, permutations: int, seed: int) -> ResamplingTest:
    """Paired test of a mean difference (n,): signs are flipped at random, subject by subject."""
    differences = np.asarray(differences, dtype=float)
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(permutations, len(differences)))
    observed = float(differences.mean())
    flipped = (signs * differences).mean(axis=1)
    extreme = int(np.sum(np.abs(flipped) >= abs(observed) * (1 - 1e-12)))
    return ResamplingTest((1 + extreme) / (1 + permutations), observed, permutations)


@dataclass(frozen=True)
class Calibration:
    """How often two halves of one output were called different at `alpha`."""

    resampling_rate: float
    wilcoxon_rate: float
    draws: int
    alpha: float


def calibrate(
    observations: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    draws: int = 200,
    permutations: int = 199,
    alpha: float = 0.05,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Calibration:
    """A/A check: random halves of one generator's output, both tests, at level `alpha`.

    observations: (real (n_r, D), synthetic (m, D)) per observation, the same images throughout.
    A test that holds its level rejects in about `alpha` of the draws.
    """
    generator = np.random.default_rng(seed)
    count = len(observations[0][1])
    half = count // 2
    found = np.zeros(2)
    for draw in range(draws):
        order = generator.permutation(count)
        first, second = order[:half], order[half : 2 * half]
        sightings, pairs = [], []
        for real, synthetic in observations:
            a, b = synthetic[first], synthetic[second]
            distances = frechet_distance(real, a).value, frechet_distance(real, b).value
            pairs.append(distances)
            sightings.append(Sighting([real], [a], [b], scale=max(sum(distances) / 2, 1e-12)))
        test = permutation_test(sightings, permutations=permutations, seed=seed + draw)
        scales = np.array([s.scale for s in sightings])
        scaled = np.array(pairs) / scales[:, None]
        found += test.p <= alpha, wilcoxon_paired(scaled[:, 0], scaled[:, 1]).p <= alpha
        if progress is not None:
            progress(draw + 1, draws, "A/A draws")
    return Calibration(float(found[0] / draws), float(found[1] / draws), draws, alpha)
