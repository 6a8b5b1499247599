"""Stage `split`: who trains, validates and tests, by subject; which masks may be used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umbench.data.splits import assign_splits, choose_labelled
from umbench.errors import InputError
from umbench.pipeline import Context
from umbench.stages.artifacts import load_set, save_table


def run(context: Context) -> None:
    """Params: splits (train, validation, test, in subjects) or null to take the set's own;
    labelled (images, null: all of train); seed.
    """
    params = context.stage.params
    data = load_set(context.inputs["data"])
    counts = params["splits"]
    if counts is None:
        split = data.table["split"].fillna("").astype(str)
        missing = {"train", "validation", "test"} - set(split)
        if missing:
            raise InputError(
                f"splits: given, but the set has no {', '.join(sorted(missing))} images; "
                "name counts of subjects instead"
            )
    else:
        split = assign_splits(data.table, **counts, seed=params["seed"])
    table = data.table.assign(split=np.asarray(split))
    train = (table["split"] == "train").to_numpy()
    labelled = (
        train
        if params["labelled"] is None
        else choose_labelled(table, params["labelled"], seed=params["seed"])
    )
    out = pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "subject": table["subject"],
            "split": table["split"],
            "labelled": labelled.astype(int),
        }
    )
    save_table(context.output / "split.csv", out)
