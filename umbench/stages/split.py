"""Stage `split`: who trains, validates and tests, by subject; which masks may be used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from umbench.data.splits import split_rows
from umbench.pipeline import Context
from umbench.stages.artifacts import load_set, save_table


def run(context: Context) -> None:
    """Params: splits (train, validation, test, in subjects) or null to take the set's own;
    labelled (images, null: all of train); seed.
    """
    params = context.stage.params
    table = load_set(context.inputs["data"]).table
    split, labelled = split_rows(table, params["splits"], params["labelled"], params["seed"])
    out = pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "subject": table["subject"],
            "split": split,
            "labelled": labelled.astype(int),
        }
    )
    save_table(context.output / "split.csv", out)
