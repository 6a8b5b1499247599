"""Stage `guidance`: superpixels to their means, clustered in steps of t (Algorithm 1)."""

from __future__ import annotations

import numpy as np
from umbench_baselines.guidance.unsupervised_mask import guidance_of

from umbench.pipeline import Context
from umbench.stages.artifacts import ARRAYS, load_arrays, load_set, pixel_rows
from umbench.stages.superpixels import grey


def run(context: Context) -> None:
    """Params: t in [0, 255]; 0 keeps the means. Writes guidance (N, H, W) uint8.

    Inputs: data and superpixels; without superpixels each pixel is its own.
    """
    data, segments = load_set(context.inputs["data"]), context.inputs.get("superpixels")
    labels = None if segments is None else load_arrays(segments)["labels"]
    rows = pixel_rows(context.scratch, {"guidance": (data.images.shape, np.dtype(np.uint8))})
    for chunk in rows.missing():
        made = [
            guidance_of(
                grey(data, row), None if labels is None else labels[row], context.stage.params["t"]
            )
            for row in range(chunk.start, chunk.stop)
        ]
        rows.put(chunk, guidance=np.stack(made))
        context.progress(rows.done, rows.count, "guidance")
    rows.finish(context.output / ARRAYS)
