"""Resampling tests: level, power, folds, pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from umbench_metrics import registry
from umbench_metrics.metric import Resampled, can_be_resampled

from umbench.statistics.resampling import Sighting, permutation_test, sign_flip_test, strata

N, DIM = 40, 16
METRICS = [m for m in map(registry.get, registry.names()) if can_be_resampled(m)]
FIDELITY, VARIETY = METRICS[:2]
each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


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


@each_metric
def test_holds_its_level_on_halves_of_one_output(metric: Resampled) -> None:
    draws, rejected = 100, 0
    generator = np.random.default_rng(3)
    pool = panel(1, N, N)
    for draw in range(draws):
        order = generator.permutation(N)
        first, second = order[: N // 2], order[N // 2 :]
        halves = [Sighting([r], [made[first]], [made[second]]) for r, made in pool]
        test = permutation_test(halves, metric.differences, permutations=19, seed=draw)
        rejected += test.p <= 0.05
    assert rejected <= 14  # binomial of 100 at 0.05: more in one of ten thousand


@each_metric
@pytest.mark.parametrize("paired", [False, True])
def test_finds_a_planted_difference(metric: Resampled, paired: bool) -> None:
    changed = sightings(0, shift=1.0)
    if metric is VARIETY:  # it does not see where features are
        changed = [replace(s, b=[s.b[0] * 1.5]) for s in sightings(0)]
    forward = permutation_test(
        changed, metric.differences, permutations=199, seed=0, paired=paired, bootstrap=200
    )
    assert forward.p == 1 / 200
    assert forward.low < forward.difference < forward.high < 0
    backward = [replace(s, a=s.b, b=s.a) for s in changed]
    turned = permutation_test(backward, metric.differences, permutations=199, seed=0, paired=paired)
    assert (turned.p, turned.difference) == (1 / 200, pytest.approx(-forward.difference))


@each_metric
def test_difference_is_that_of_values_over_the_scale(metric: Resampled) -> None:
    seen = [replace(s, scale=2.0) for s in sightings(2)]
    test = permutation_test(seen, metric.differences, permutations=19, seed=0)
    values = [[metric.of_fold(s.real[0], side[0]) for side in (s.a, s.b)] for s in seen]
    assert test.difference == pytest.approx(np.mean([a - b for a, b in values]) / 2, rel=1e-5)


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
        assert (
            permutation_test(mixed, FIDELITY.differences, permutations=99, seed=0, paired=paired).p
            == 1 / 100
        )
    with pytest.raises(ValueError, match="need their rows"):
        permutation_test(
            [replace(mixed[2], rows=None)], FIDELITY.differences, permutations=9, seed=0
        )
    with pytest.raises(ValueError, match="differ in images"):
        short = Sighting(first.real, [first.a[0][:9]], [first.b[0][:9]])
        permutation_test([first, short], FIDELITY.differences, permutations=9, seed=0)


def test_groups_hold_other_images() -> None:
    first, second = sightings(6), sightings(7)
    grouped = [*first, *(replace(s, group=1) for s in second)]
    one = permutation_test(grouped, FIDELITY.differences, permutations=99, seed=0, bootstrap=20)
    assert one == permutation_test(
        grouped, FIDELITY.differences, permutations=99, seed=0, bootstrap=20
    )
    assert one.difference == pytest.approx(
        permutation_test([*first, *second], FIDELITY.differences, permutations=9, seed=0).difference
    )


def test_same_images_do_not_differ() -> None:
    same = [replace(s, b=s.a) for s in sightings(8)]
    assert (
        permutation_test(same, FIDELITY.differences, permutations=49, seed=0, paired=True).p == 1.0
    )


def test_sign_flips() -> None:
    assert sign_flip_test(np.arange(1.0, 20.0), permutations=999, seed=0).p == 1 / 1000
    assert sign_flip_test(np.zeros(4), permutations=99, seed=0).p == 1.0
    with pytest.raises(ValueError, match="finite"):
        sign_flip_test(np.array([np.nan]), permutations=9, seed=0)


def test_strata_share_a_fold_in_every_observation() -> None:
    first, second, *_ = sightings(5)
    rows = [np.arange(N)[:15], np.arange(N)[15:]]
    found = strata([first, folded(second, rows)])
    assert [numbers.tolist() for numbers in found] == [list(range(15)), list(range(15, N))]
