"""Splits by subject, and which masks may be used.

Everything follows from one seeded order of the subjects: test is its beginning, then comes
validation, then train, and the labelled part is the beginning of train. So a smaller train, or a
smaller labelled part, is the beginning of a larger one, and moves neither test nor validation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from umbench.errors import InputError

DRAWN = ("test", "validation", "train")
"""In the order in which they are drawn."""


def split_rows(
    table: pd.DataFrame, counts: Mapping[str, int] | None, labelled: int | None, seed: int
) -> tuple[pd.Series, np.ndarray]:
    """The split of each row ("" for none), and (N,) bool whether its mask may be used.

    counts: subjects of train, validation and test; None takes the set's own splits. labelled:
    images of train with masks, None for all. InputError where the set has too few.
    """
    split = given_splits(table) if counts is None else assign_splits(table, **counts, seed=seed)
    if labelled is None:
        return split, (split == "train").to_numpy()
    return split, choose_labelled(table.assign(split=split), labelled, seed)


def subject_order(table: pd.DataFrame, seed: int) -> np.ndarray:
    """The set's subjects, shuffled; it depends on who is in the set and on the seed alone."""
    subjects = np.array(sorted(table["subject"].unique()))
    return subjects[np.random.default_rng([seed, 1]).permutation(len(subjects))]


def assign_splits(
    table: pd.DataFrame, train: int, validation: int, test: int, seed: int
) -> pd.Series:
    """Draw subjects for test, then validation, then train; the rest get "".

    A subject's images share a split, so that no test image has a sibling in train. InputError
    where there are too few subjects.
    """
    counts = {"train": train, "validation": validation, "test": test}
    order, wanted = subject_order(table, seed), sum(counts.values())
    if wanted > len(order):
        raise InputError(
            f"splits: {train} + {validation} + {test} = {wanted} subjects asked, but the set has "
            f"{len(order)}; lower the counts"
        )
    names = [name for name in DRAWN for _ in range(counts[name])]
    chosen = dict(zip(order, names, strict=False))
    return table["subject"].map(lambda subject: chosen.get(subject, ""))


def given_splits(table: pd.DataFrame) -> pd.Series:
    """The set's own splits; InputError where one has no images."""
    split = table["split"].fillna("").astype(str)
    missing = sorted(set(DRAWN) - set(split))
    if missing:
        raise InputError(
            f"splits: given, but the set has no {', '.join(missing)} images; name counts of "
            "subjects instead"
        )
    return split


def choose_labelled(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Rows (N,) bool of train whose masks may be used: whole subjects, up to `count` images.

    Subjects are taken in the order of the splits until the next one does not fit: skipping it for
    a smaller one would give more images, but no longer a part of what a larger `count` gives.
    InputError where train has fewer images, or not even the first subject fits.
    """
    train = table[table["split"] == "train"]
    if count > len(train):
        raise InputError(
            f"labelled: {count} images asked, but train has {len(train)}; lower it or raise "
            "splits.train"
        )
    sizes = train["subject"].value_counts()
    order = [subject for subject in subject_order(table, seed) if subject in sizes.index]
    totals = np.cumsum([sizes[subject] for subject in order])
    chosen = order[: int(np.searchsorted(totals, count, side="right"))]
    if not chosen:
        raise InputError(
            f"labelled: {count} images asked, but the first subject of train has {totals[0]} and "
            "subjects are labelled whole; raise it"
        )
    return (table["split"].eq("train") & table["subject"].isin(chosen)).to_numpy()
