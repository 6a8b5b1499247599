"""Splits by subject, and which masks may be used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umbench.errors import InputError


def assign_splits(
    table: pd.DataFrame, train: int, validation: int, test: int, seed: int
) -> pd.Series:
    """Draw subjects for each split; the rest get "". InputError where there are too few.

    A subject's images share a split, so that no test image has a sibling in train.
    """
    subjects = np.array(sorted(table["subject"].unique()))
    wanted = train + validation + test
    if wanted > len(subjects):
        raise InputError(
            f"splits: {train} + {validation} + {test} = {wanted} subjects asked, but the set has "
            f"{len(subjects)}; lower the counts"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(subjects))
    names = ["train"] * train + ["validation"] * validation + ["test"] * test
    chosen = dict(zip(subjects[order], names, strict=False))
    return table["subject"].map(lambda subject: chosen.get(subject, ""))


def given_splits(table: pd.DataFrame) -> pd.Series:
    """The set's own splits; InputError where one has no images."""
    split = table["split"].fillna("").astype(str)
    missing = sorted({"train", "validation", "test"} - set(split))
    if missing:
        raise InputError(
            f"splits: given, but the set has no {', '.join(missing)} images; name counts of "
            "subjects instead"
        )
    return split


def choose_labelled(table: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Rows (N,) bool of train whose masks may be used: whole subjects, up to `count` images.

    InputError where train has fewer images, or no subject has so few.
    """
    train = table[table["split"] == "train"]
    if count > len(train):
        raise InputError(
            f"labelled: {count} images asked, but train has {len(train)}; lower it or raise "
            "splits.train"
        )
    subjects = np.array(sorted(train["subject"].unique()))
    order = np.random.default_rng([seed, 2]).permutation(len(subjects))
    sizes = train["subject"].value_counts()
    chosen, total = set(), 0
    for subject in subjects[order]:
        if total + sizes[subject] <= count:
            chosen.add(subject)
            total += sizes[subject]
    if not chosen:
        raise InputError(
            f"labelled: {count} images asked, but every subject of train has more and subjects "
            "are labelled whole; raise it"
        )
    return (table["split"].eq("train") & table["subject"].isin(chosen)).to_numpy()
