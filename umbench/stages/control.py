"""Stage `control`: images scored as if synthetic, the floor and the ceiling of the scale."""

from __future__ import annotations

import numpy as np
from umbench_metrics.degrade import degrade

from umbench.data.annotated_set import AnnotatedSet, write_set
from umbench.pipeline import Context
from umbench.stages.artifacts import SET, image_tensor, load_set, load_split, save_arrays


def run(context: Context) -> None:
    """Params: control (`real`: held-out images; `degraded`: damaged test images), count, seed."""
    params = context.stage.params
    data, table = load_set(context.inputs["data"]), load_split(context.inputs["split"])
    if params["control"] == "real":
        rows = table.spread(table.rows("validation"))[: params["count"]]
        chosen = data.take(rows)
    else:
        test = table.spread(table.rows("test"))
        rows = test[: params["count"]]
        images = degrade(image_tensor(data, rows), params["seed"])[:, 0].numpy()
        levels = 2**data.info.encoding.bits - 1
        source = data.take(rows)
        chosen = AnnotatedSet(
            info=source.info,
            images=np.round(images * levels).astype(data.images.dtype),
            masks=source.masks,
            table=source.table,
        )
    write_set(context.output / SET, chosen)
    save_arrays(context.output, rows=rows)
