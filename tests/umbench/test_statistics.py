"""Paired tests against scipy and by hand; resampling tests hold their level and have power."""

from __future__ import annotations

import numpy as np
import pytest
from umbench_metrics.frechet import GramFrechet, frechet_distance

from umbench.statistics.paired import holm, wilcoxon_paired
from umbench.statistics.resampling import (
    Sighting,
    permutation_test,
    sign_flip_test,
    variety_test,
)


def panel(
    images: int, seed: int, shift: float = 0.0, scale: float = 1.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four extractors at two resolutions that are nearly the same view of the same images."""
    g = np.random.default_rng(seed)
    real, synthetic = g.normal(size=(40, 20)), scale * g.normal(size=(images, 20)) + shift
    views = np.random.default_rng(99)
    out = []
    for _ in range(4):
        weights = views.normal(size=(20, 12))
        for _ in range(2):
            view = weights + 0.1 * views.normal(size=weights.shape)
            out.append((real @ view, synthetic @ view))
    return out


def sightings(shift: float, scale: float = 1.0) -> list[Sighting]:
    first, second = panel(40, 1), panel(40, 2, shift, scale)
    return [Sighting([r], [a], [b]) for (r, a), (_, b) in zip(first, second, strict=True)]


def test_smallest_attainable_p() -> None:
    x = np.arange(1.0, 17.0)
    result = wilcoxon_paired(x, np.zeros(16))
    assert result.p == pytest.approx(2 / 2**16)
    assert result.smallest_p == pytest.approx(2 / 2**16)
    assert result.effect == 1
    assert wilcoxon_paired(x[:4], np.zeros(4)).p == pytest.approx(0.125)
    assert "cannot be reached" in wilcoxon_paired(x[:4], np.zeros(4)).note


def test_wilcoxon_by_hand_and_at_the_edges() -> None:
    # ranks of |d| = 1, 2, 3 with d = 1, -2, 3: W+ = 4, W- = 2
    result = wilcoxon_paired(np.array([1.0, 0.0, 3.0]), np.array([0.0, 2.0, 0.0]))
    assert result.effect == pytest.approx((4 - 2) / 6)
    assert wilcoxon_paired(np.ones(5), np.ones(5)).p == 1
    with pytest.raises(ValueError, match="NaN"):
        wilcoxon_paired(np.array([np.nan]), np.array([1.0]))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_gram_distances_are_the_distances() -> None:
    (real, pool), *_ = panel(60, 5)
    for dim in (12, 3):
        engine = GramFrechet(real[:, :dim], pool[:, :dim])
        rows = np.random.default_rng(0).permuted(np.tile(np.arange(60), (5, 1)), axis=1)[:, :25]
        expected = [frechet_distance(real[:, :dim], pool[r][:, :dim]).value for r in rows]
        np.testing.assert_allclose(engine.distances(rows), expected, rtol=1e-7)


@pytest.mark.parametrize("paired", [True, False])
def test_a_planted_shift_is_found_in_the_right_direction(paired: bool) -> None:
    found = permutation_test(sightings(1.0), permutations=199, seed=0, paired=paired)
    assert found.p == pytest.approx(1 / 200)
    assert found.difference < 0


def test_planted_variety_is_found() -> None:
    found = variety_test(sightings(0.0, 0.5), permutations=199, seed=0)
    assert found.p == pytest.approx(1 / 200)
    assert found.difference > 0


def test_swapping_the_methods_turns_the_sign_and_keeps_p() -> None:
    forward = sightings(0.3)
    backward = [Sighting(s.real, s.b, s.a) for s in forward]
    one = permutation_test(forward, permutations=99, seed=4, paired=True)
    two = permutation_test(backward, permutations=99, seed=4, paired=True)
    assert one.difference == pytest.approx(-two.difference)
    assert one.p == two.p


def test_folds_are_permuted_within() -> None:
    whole = sightings(1.0)
    folded = [
        Sighting([s.real[0]] * 2, [s.a[0][k::2] for k in (0, 1)], [s.b[0][k::2] for k in (0, 1)])
        for s in whole
    ]
    found = permutation_test([*whole, *folded], permutations=99, seed=0)
    assert found.p == pytest.approx(0.01)


def test_sign_flips() -> None:
    assert sign_flip_test(np.ones(20), permutations=999, seed=0).p <= 0.01
    assert sign_flip_test(np.array([1.0, -1.0] * 10), permutations=99, seed=0).p == 1
