"""Resampling tests: level, power, folds, pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.variety import feature_std

from umbench.statistics.resampling import (
    Sighting,
    calibrate_aa,
    permutation_test,
    sign_flip_test,
    variety_test,
)

N, DIM = 40, 16


def panel(seed: int, *counts: int, shift: float = 0.0) -> list[list[np.ndarray]]:
    """Per observation the features of each set: 4 networks, 2 resolutions much alike."""
    generator = np.random.default_rng(seed)
    latent = [generator.normal(size=(count, 8)) for count in counts]
    latent[-1] += shift
    out = []
    for _ in range(4):
        network = generator.normal(size=(8, DIM))
        for _ in range(2):
            out.append([z @ network + 0.3 * generator.normal(size=(len(z), DIM)) for z in latent])
    return out


def sightings(seed: int, shift: float = 0.0) -> list[Sighting]:
    return [Sighting([r], [a], [b]) for r, a, b in panel(seed, N, N, N, shift=shift)]


def test_holds_its_level_on_halves_of_one_output_where_wilcoxon_does_not() -> None:
    observations = [(r, s) for r, s in panel(1, N, N)]
    result = calibrate_aa(observations, draws=200, permutations=99, seed=3)
    assert result.rate_resampling <= 0.08
    assert result.rate_wilcoxon > 2 * result.rate_resampling


@pytest.mark.parametrize("paired", [False, True])
def test_finds_a_planted_shift(paired: bool) -> None:
    test = permutation_test(
        sightings(0, shift=1.0), permutations=199, seed=0, paired=paired, bootstrap=200
    )
    assert test.p == 1 / 200
    assert test.low < test.difference < test.high < 0


def test_difference_is_that_of_the_distances() -> None:
    seen = sightings(2)
    test = permutation_test(seen, permutations=19, seed=0)
    expected = np.mean(
        [frechet_distance(s.real[0], s.a[0]).value - frechet_distance(s.real[0], s.b[0]).value
         for s in seen]
    )  # fmt: skip
    assert test.difference == pytest.approx(expected, rel=1e-5)
    spread = variety_test(seen, permutations=19, seed=0).difference
    expected = np.mean([feature_std(s.a[0]) - feature_std(s.b[0]) for s in seen])
    assert spread == pytest.approx(expected)


def test_variety_sees_scale() -> None:
    wider = [replace(s, b=[s.b[0] * 1.5]) for s in sightings(4)]
    assert variety_test(wider, permutations=99, seed=0, bootstrap=50).p == 1 / 100


def folded(sighting: Sighting, rows: list[np.ndarray] | None) -> Sighting:
    at = rows or [np.arange(N)[k::2] for k in range(2)]
    return Sighting(
        [sighting.real[0]] * 2,
        [sighting.a[0][i] for i in at],
        [sighting.b[0][i] for i in at],
        rows=rows,
    )


def test_folds_may_differ_between_observations() -> None:
    first, second, third, *_ = sightings(5, shift=1.0)
    rows = [np.arange(N)[:15], np.arange(N)[15:]]
    mixed = [first, folded(second, None), folded(third, rows)]
    for paired in (False, True):
        assert permutation_test(mixed, permutations=99, seed=0, paired=paired).p == 1 / 100
    with pytest.raises(ValueError, match="need their rows"):
        permutation_test([replace(mixed[2], rows=None)], permutations=9, seed=0)
    with pytest.raises(ValueError, match="differ in images"):
        short = Sighting(first.real, [first.a[0][:9]], [first.b[0][:9]])
        permutation_test([first, short], permutations=9, seed=0)


def test_groups_hold_other_images() -> None:
    first, second = sightings(6), sightings(7)
    grouped = [*first, *(replace(s, group=1) for s in second)]
    one = permutation_test(grouped, permutations=99, seed=0, bootstrap=20)
    assert one == permutation_test(grouped, permutations=99, seed=0, bootstrap=20)
    assert one.difference == pytest.approx(
        permutation_test([*first, *second], permutations=9, seed=0).difference
    )


def test_same_images_do_not_differ() -> None:
    same = [replace(s, b=s.a) for s in sightings(8)]
    assert permutation_test(same, permutations=49, seed=0, paired=True).p == 1.0


def test_sign_flips() -> None:
    assert sign_flip_test(np.arange(1.0, 20.0), permutations=999, seed=0).p == 1 / 1000
    assert sign_flip_test(np.zeros(4), permutations=99, seed=0).p == 1.0
    with pytest.raises(ValueError, match="finite"):
        sign_flip_test(np.array([np.nan]), permutations=9, seed=0)
