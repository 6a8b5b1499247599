"""Stage `folder`: read a set strictly, once, and keep what later edits cannot change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from umbench.data.annotated_set import content_fingerprint, read_set
from umbench.data.rows import Rows, Shapes
from umbench.errors import InputError
from umbench.pipeline import Context
from umbench.stages.artifacts import PIXELS, pixel_rows, save_tables

if TYPE_CHECKING:
    from umbench.stages.values import Folder


def run(context: Context[Folder]) -> None:
    """Writes the set; InputError where it is not as it was when the plan was made."""
    path = Path(context.stage.path)
    kept: list[Rows] = []

    def allocate(shapes: Shapes) -> dict[str, np.ndarray]:
        kept.append(pixel_rows(context.scratch, shapes))
        return kept[0].arrays

    data = read_set(path, allocate)
    if content_fingerprint(path) != context.stage.fingerprint:
        raise InputError(f"{path}: changed while it was read; run the same command again")
    save_tables(context.output, data.info, data.table)
    kept[0].settle(context.output / PIXELS)
