"""Tests that resample images: the unit that was drawn, where observations were not.

Observations of one comparison share their images and networks. A permutation test swaps images
between two methods, the same swap in every observation, and computes all distances anew; under
the null hypothesis that both draw from one distribution its p value is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sighting:
    """Features of the reference and of two methods in one observation, one array per fold.

    real: (n_r, D) per fold. a, b: (n_k, D) per fold, the same number of images for both methods
    and the same images in every observation. scale: what the distance is divided by; the test is
    exact where it does not depend on which image is whose. rows: image numbers of each fold,
    together 0 .. n - 1; without them every k-th image is in fold k. group: observations of one
    group see the same images (one training seed); groups are relabelled independently.
    """

    real: Sequence[np.ndarray]
    a: Sequence[np.ndarray]
    b: Sequence[np.ndarray]
    scale: float = 1.0
    rows: Sequence[np.ndarray] | None = None
    group: int = 0

    def numbers(self) -> list[np.ndarray]:
        """Image numbers per fold; ValueError where folds and features do not fit together."""
        sizes = [len(fold) for fold in self.a]
        if sizes != [len(fold) for fold in self.b] or len(self.real) != len(sizes):
            raise ValueError("both methods need the same folds and number of images in each")
        count = sum(sizes)
        if self.rows is None:
            out = [np.arange(count)[k :: len(sizes)] for k in range(len(sizes))]
        else:
            out = [np.asarray(fold) for fold in self.rows]
        if [len(fold) for fold in out] != sizes:
            raise ValueError(f"folds of {sizes} images, not dealt out in turn, need their rows")
        if not np.array_equal(np.sort(np.concatenate(out)), np.arange(count)):
            raise ValueError(f"rows of the folds must together be 0 .. {count - 1}, each once")
        if not self.scale > 0:
            raise ValueError(f"the scale of an observation must be positive, not {self.scale}")
        return out


@dataclass(frozen=True)
class ResamplingTest:
    """Two-sided p, the observed mean difference a - b, and how many permutations gave it.

    low, high: 95 % bootstrap interval of the difference over images, NaN where none was asked for.
    """

    p: float
    difference: float
    permutations: int
    low: float = float("nan")
    high: float = float("nan")


Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""`differences` of a metric, see `umbench_metrics.metric.Resampled`: `f(real (n_r, D), pool (m, D),
rows of a (P, n), rows of b (P, n))` -> differences (P,)."""


def permutation_test(
    sightings: Sequence[Sighting],
    differences: Statistic,
    *,
    permutations: int,
    seed: int,
    paired: bool = False,
    bootstrap: int = 0,
) -> ResamplingTest:
    """Do a and b differ? Statistic: mean over observations of `differences` over the scale.

    paired: image i of both methods was made from the same condition, so images are swapped pair
    by pair; otherwise all images are shuffled. Images keep to their folds. Phipson and Smyth 2010.
    """
    if not sightings or permutations < 1:
        raise ValueError("a test needs one observation and one permutation or more")
    generator = np.random.default_rng(seed)
    groups: dict[int, list[Sighting]] = {}
    for sighting in sightings:
        groups.setdefault(sighting.group, []).append(sighting)
    values, replicates = np.zeros(permutations + 1), np.zeros(bootstrap)
    for members in groups.values():
        shared = strata(members)
        labels = _relabelled(shared, permutations, generator, paired)
        drawn = _redrawn(shared, bootstrap, generator, paired)
        for sighting in members:
            values += _over_folds(sighting, labels, differences)
            replicates += _over_folds(sighting, drawn, differences)
    values, replicates = values / len(sightings), replicates / len(sightings)
    low = high = float("nan")
    if bootstrap:
        # replicates repeat images, which biases distances upward: they are centred on the value
        low, high = np.percentile(replicates - replicates.mean(), [2.5, 97.5]) + values[0]
    # the observed value is among the permuted ones; equal up to rounding counts as equal
    slack = 1e-9 * (np.abs(values).max() + 1e-300)
    extreme = int(np.sum(np.abs(values[1:]) >= abs(values[0]) - slack))
    p = (1 + extreme) / (1 + permutations)
    return ResamplingTest(p, float(values[0]), permutations, float(low), float(high))


def strata(sightings: Sequence[Sighting]) -> list[np.ndarray]:
    """Image numbers that share a fold in every observation: one swap then serves all of them."""
    folds = []
    for sighting in sightings:
        numbers = sighting.numbers()
        fold = np.empty(sum(map(len, numbers)), dtype=int)
        for k, members in enumerate(numbers):
            fold[members] = k
        folds.append(fold)
    if len({len(fold) for fold in folds}) != 1:
        raise ValueError(f"observations differ in images: {sorted({len(f) for f in folds})}")
    _, stratum = np.unique(np.stack(folds, axis=1), axis=0, return_inverse=True)
    stratum = stratum.ravel()
    return [np.flatnonzero(stratum == k) for k in range(stratum.max() + 1)]


def _relabelled(
    strata: list[np.ndarray], permutations: int, generator: np.random.Generator, paired: bool
) -> np.ndarray:
    """(P + 1, 2 n) pool numbers, the first n of each row being called a; row 0 as observed.

    Pool numbers are 0 .. n - 1 for images of a and n .. 2 n - 1 for b.
    """
    n = sum(map(len, strata))
    labels = np.tile(np.arange(2 * n), (permutations + 1, 1))
    for numbers in strata:
        pool = np.concatenate([numbers, numbers + n])
        for row in labels[1:]:
            if paired:
                swap = generator.random(len(numbers)) < 0.5
                row[numbers] = np.where(swap, numbers + n, numbers)
                row[numbers + n] = np.where(swap, numbers, numbers + n)
            else:
                row[pool] = generator.permutation(pool)
    return labels


def _redrawn(
    strata: list[np.ndarray], count: int, generator: np.random.Generator, paired: bool
) -> np.ndarray:
    """(B, 2 n) pool numbers drawn with replacement, each method from its own images."""
    n = sum(map(len, strata))
    drawn = np.empty((count, 2 * n), dtype=int)
    for numbers in strata:
        first = generator.choice(numbers, size=(count, len(numbers)))
        again = first if paired else generator.choice(numbers, size=(count, len(numbers)))
        drawn[:, numbers], drawn[:, numbers + n] = first, again + n
    return drawn


def _over_folds(sighting: Sighting, labels: np.ndarray, differences: Statistic) -> np.ndarray:
    """Scaled differences for every relabelling (P, 2 n), mean over folds."""
    if not len(labels):
        return np.empty(0)
    n = labels.shape[1] // 2
    folds = sighting.numbers()
    out = np.zeros(len(labels))
    for k, numbers in enumerate(folds):
        place = np.full(2 * n, -1)
        place[numbers] = np.arange(len(numbers))
        place[numbers + n] = np.arange(len(numbers)) + len(numbers)
        first, second = place[labels[:, numbers]], place[labels[:, numbers + n]]
        pool = np.concatenate([sighting.a[k], sighting.b[k]])
        out += differences(sighting.real[k], pool, first, second)
    return out / (len(folds) * sighting.scale)


def sign_flip_test(differences: np.ndarray, *, permutations: int, seed: int) -> ResamplingTest:
    """Paired test of a mean difference (n,): signs are flipped at random, subject by subject."""
    differences = np.asarray(differences, dtype=float)
    if differences.ndim != 1 or not len(differences) or not np.isfinite(differences).all():
        raise ValueError("differences must be a vector of finite numbers, one or more")
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(permutations, len(differences)))
    observed = float(differences.mean())
    flipped = (signs * differences).mean(axis=1)
    extreme = int(np.sum(np.abs(flipped) >= abs(observed) * (1 - 1e-12)))
    return ResamplingTest((1 + extreme) / (1 + permutations), observed, permutations)
