"""Wilcoxon, Holm, and comparisons over tidy tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from umbench.statistics.paired import compare, compare_dice, holm, wilcoxon_paired


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


def scores() -> pd.DataFrame:
    rows = [
        {"method": m, "seed": s, "metric": "mm-std", "extractor": e, "resolution": r,
         "value": shift + 0.01 * (i + s) * (k + 1)}
        for k, (m, shift) in enumerate({"a": 0.0, "b": 1.0, "c": 2.0}.items())
        for s in (0, 1) for i, (e, r) in enumerate((e, r) for e in "wxyz" for r in (64, 128))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_compare_all_pairs_or_against_one() -> None:
    every = compare(scores(), "mm-std", ["a", "b", "c"])
    assert list(zip(every["a"], every["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (every["n"] == 8).all()
    assert every["p_holm"].tolist() == pytest.approx([3 * 2 / 2**8] * 3)
    one = compare(scores(), "mm-std", ["a", "b", "c"], "b")
    assert set(one["family"]) == {"each against b"}
    assert one["effect"].tolist() == [-1.0, 1.0]
    with pytest.raises(ValueError, match="no values of d"):
        compare(scores(), "mm-std", ["a", "d"])
    with pytest.raises(ValueError, match="differ in their extractor x resolution"):
        compare(scores().query("method != 'a' or extractor != 'w'"), "mm-std", ["a", "b"])


def test_dice_is_averaged_by_subject_and_given_where_present() -> None:
    rows = [
        {"method": m, "subject": f"s{s}", "image": i, "region": "lesion",
         "value": 1.0 if i == 0 else 0.5 + gain * (s + 1), "empty": "both" if i == 0 else ""}
        for m, gain in (("real", 0.0), ("real+x", 0.01)) for s in range(7) for i in range(3)
    ]  # fmt: skip
    table = compare_dice(pd.DataFrame(rows), "lesion", ["real", "real+x"])
    assert table["metric"].tolist() == ["dice lesion", "dice lesion, where present"]
    assert table["n"].tolist() == [7, 7]
    assert table["difference"].tolist() == pytest.approx([0.04 * 2 / 3, 0.04])
    assert table["p"].tolist() == [2 / 2**7] * 2
