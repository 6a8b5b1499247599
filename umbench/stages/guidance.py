"""Stage `guidance`: superpixels to their means, clustered in steps of t (Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.guidance.unsupervised_mask import guidance_of

from umbench.pipeline import Context
from umbench.stages.artifacts import ARRAYS, load_arrays, load_set, pixel_rows
from umbench.stages.superpixels import grey

if TYPE_CHECKING:
    from umbench.stages.values import Guidance


def run(context: Context[Guidance]) -> None:
    """Writes guidance (N, H, W) uint8, multiples of t in [0, 255]; 0 keeps the means."""
    stage = context.stage
    data = load_set(context.folder(stage.data))
    segments = None if stage.superpixels is None else context.folder(stage.superpixels)
    labels = None if segments is None else load_arrays(segments)["labels"]
    rows = pixel_rows(context.scratch, {"guidance": (data.images.shape, np.dtype(np.uint8))})
    for chunk in rows.missing():
        made = [
            guidance_of(grey(data, row), None if labels is None else labels[row], stage.t)
            for row in range(chunk.start, chunk.stop)
        ]
        rows.put(chunk, guidance=np.stack(made))
        context.progress(rows.done, rows.count, "guidance")
    rows.finish(context.output / ARRAYS)
