"""Splits: by subject, test first, and a smaller part is the beginning of a larger one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbench.data.splits import split_rows
from umbench.errors import InputError

images_per_subject = st.lists(st.integers(1, 5), min_size=6, max_size=30)
seeds = st.integers(0, 2**32 - 1)


def table_of(images: list[int]) -> pd.DataFrame:
    """One row per image, the images of a subject apart."""
    turns = range(max(images))
    subjects = [f"s{k:02d}" for turn in turns for k, n in enumerate(images) if turn < n]
    return pd.DataFrame({"subject": subjects, "split": ""})


def counts(train: int, validation: int, test: int) -> dict[str, int]:
    return {"train": train, "validation": validation, "test": test}


@given(images_per_subject, seeds, st.data())
def test_a_smaller_train_moves_neither_test_nor_validation(
    images: list[int], seed: int, data: st.DataObject
) -> None:
    table = table_of(images)
    test, validation = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    most = len(images) - test - validation
    large, small = sorted((data.draw(st.integers(1, most)) for _ in range(2)), reverse=True)
    first, _ = split_rows(table, counts(large, validation, test), None, seed)
    other, _ = split_rows(table, counts(small, validation, test), None, seed)
    for name in ("test", "validation"):
        assert (first == name).tolist() == (other == name).tolist()
    assert set(np.flatnonzero(other == "train")) <= set(np.flatnonzero(first == "train"))
    wider, _ = split_rows(table, counts(small, 1, test), None, seed)
    assert (wider == "test").tolist() == (first == "test").tolist()
    for name, wanted in counts(small, validation, test).items():
        assert table.loc[other == name, "subject"].nunique() == wanted
    assert table.assign(split=other).groupby("subject")["split"].nunique().max() == 1


@given(images_per_subject, seeds, st.data())
def test_a_smaller_labelled_part_is_a_part_of_a_larger_one(
    images: list[int], seed: int, data: st.DataObject
) -> None:
    table = table_of(images)
    large, small = sorted(data.draw(st.integers(1, len(images) - 2)) for _ in range(2))[::-1]
    split, everything = split_rows(table, counts(large, 1, 1), None, seed)
    most = int(everything.sum())
    asked = sorted(data.draw(st.integers(5, max(5, most))) for _ in range(2))
    if most < 5:
        return
    few, many = (split_rows(table, counts(large, 1, 1), count, seed)[1] for count in asked)
    assert set(np.flatnonzero(few)) <= set(np.flatnonzero(many)) <= set(np.flatnonzero(everything))
    for chosen, count in ((few, asked[0]), (many, asked[1])):
        assert 1 <= chosen.sum() <= count
        rows = table[chosen]["subject"].value_counts()  # subjects are labelled whole
        assert (rows == table["subject"].value_counts()[rows.index]).all()
        assert set(split[chosen]) == {"train"}
    fits, _ = split_rows(table, counts(small, 1, 1), None, seed)
    if (fits == "train").sum() >= asked[0]:  # a smaller train keeps who is labelled
        assert (split_rows(table, counts(small, 1, 1), asked[0], seed)[1] == few).all()


def test_all_of_train_can_be_labelled_and_seeds_differ() -> None:
    table = table_of([2] * 20)
    split, labelled = split_rows(table, counts(10, 5, 5), 20, 0)
    assert (labelled == (split == "train")).all()
    assert (split_rows(table, counts(10, 5, 5), 20, 0)[0] == split).all()
    assert (split_rows(table, counts(10, 5, 5), 20, 1)[0] != split).any()


def test_the_sets_own_splits_have_a_nested_labelled_part() -> None:
    table = table_of([1] * 12)
    table["split"] = ["train"] * 8 + ["validation"] * 2 + ["test"] * 2
    parts = [set(np.flatnonzero(split_rows(table, None, n, 7)[1])) for n in range(1, 9)]
    assert [len(part) for part in parts] == list(range(1, 9))
    assert all(small < large for small, large in pairwise(parts))


@pytest.mark.parametrize(
    ("wanted", "labelled", "expected"),
    [
        (counts(10, 5, 6), None, "splits: 10 . 5 . 6 = 21 subjects asked, but the set has 20"),
        (None, None, "splits: given, but the set has no test, train, validation images"),
        (counts(10, 5, 5), 21, "labelled: 21 images asked, but train has 20; lower it or raise"),
        (counts(10, 5, 5), 1, "labelled: 1 images asked, but the first subject of train has 2"),
    ],
)
def test_what_cannot_be_split(
    wanted: dict[str, int] | None, labelled: int | None, expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        split_rows(table_of([2] * 20), wanted, labelled, 0)
