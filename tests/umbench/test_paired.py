"""Wilcoxon and Holm against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from umbench.statistics.paired import holm, wilcoxon_paired


def test_agrees_with_scipy_and_names_the_least_p() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 16))
    test = wilcoxon_paired(x, y)
    assert test.p == wilcoxon(x, y, method="exact").pvalue
    assert test.smallest_p == 2 / 2**16
    everywhere = wilcoxon_paired(np.arange(1.0, 17.0), np.zeros(16))
    assert everywhere.p == everywhere.smallest_p
    assert everywhere.effect == 1.0
    assert wilcoxon_paired(y, x).effect == pytest.approx(-test.effect)


def test_equal_values_and_few_pairs_say_so() -> None:
    same = wilcoxon_paired(np.ones(5), np.ones(5))
    assert (same.p, same.effect, same.note) == (1.0, 0.0, "all differences are zero")
    few = wilcoxon_paired(np.arange(1.0, 5.0), np.zeros(4))
    assert few.p == 0.125
    assert "cannot be reached" in few.note


def test_effect_by_hand() -> None:
    # ranks of |d| = 1, 2, 3 with d = 1, -2, 3: W+ = 4, W- = 2
    result = wilcoxon_paired(np.array([1.0, 0.0, 3.0]), np.array([0.0, 2.0, 0.0]))
    assert result.effect == pytest.approx((4 - 2) / 6)


def test_ties_do_not_give_less_than_the_least_p() -> None:
    test = wilcoxon_paired(np.ones(3), np.zeros(3))
    assert test.p == test.smallest_p == 0.25


def test_refuses_what_is_not_paired() -> None:
    with pytest.raises(ValueError, match="one length"):
        wilcoxon_paired(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="NaN"):
        wilcoxon_paired(np.array([np.nan, 1.0]), np.ones(2))


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
