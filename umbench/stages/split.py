"""Stage `split`: who trains, validates and tests, by subject; which masks may be used."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from umbench.data.splits import split_rows
from umbench.pipeline import Context
from umbench.stages.artifacts import load_set, save_table

if TYPE_CHECKING:
    from umbench.stages.values import Split


def run(context: Context[Split]) -> None:
    """Writes split.csv: one row per image of the set."""
    stage = context.stage
    table = load_set(context.folder(stage.data)).table
    shares = None if stage.shares is None else asdict(stage.shares)
    split, labelled = split_rows(table, shares, stage.labelled, stage.seed)
    out = pd.DataFrame(
        {
            "row": np.arange(len(table)),
            "subject": table["subject"],
            "split": split,
            "labelled": labelled.astype(int),
        }
    )
    save_table(context.output / "split.csv", out)
