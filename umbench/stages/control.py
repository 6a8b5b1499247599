"""Stage `control`: images scored as if synthetic, the floor and the ceiling of the scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from umbench_metrics.degrade import degrade

from umbench.pipeline import Context
from umbench.stages.artifacts import (
    PIXELS,
    load_set,
    load_split,
    pictures,
    pixel_rows,
    save_arrays,
    save_tables,
)
from umbench.stages.sample import to_grey

if TYPE_CHECKING:
    from umbench.stages.values import Control


def run(context: Context[Control]) -> None:
    """Writes a set: held-out images as they are, or damaged test images."""
    stage = context.stage
    data = load_set(context.folder(stage.real.data))
    table = load_split(context.folder(stage.real.split))
    split = "validation" if stage.control == "real" else "test"
    rows = table.spread(table.rows(split))[: stage.count]
    shapes = {"images": ((len(rows), *data.images.shape[1:]), data.images.dtype)}
    if data.masks is not None:
        shapes["masks"] = ((len(rows), *data.masks.shape[1:]), data.masks.dtype)
    made = pixel_rows(context.scratch, shapes)
    for chunk in made.missing():
        images = data.images[rows[chunk]]
        if stage.control == "degraded":
            seen = pictures(data, rows).batch(chunk)
            damaged = degrade(seen, stage.seed, start=chunk.start)
            images = to_grey(damaged, data.images.dtype)
        masks = {} if data.masks is None else {"masks": data.masks[rows[chunk]]}
        made.put(chunk, images=images, **masks)
        context.progress(made.done, made.count, stage.control)
    made.finish(context.output / PIXELS)
    save_tables(context.output, data.info, data.table.iloc[rows])
    save_arrays(context.output, rows=np.asarray(rows))
