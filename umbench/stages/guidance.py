"""Stage `guidance`: cluster superpixel means in steps of t (Algorithm 1)."""

from __future__ import annotations

import numpy as np
from umbench_baselines.guidance.unsupervised_mask import cluster

from umbench.pipeline import Context
from umbench.stages.artifacts import load_arrays, save_arrays


def run(context: Context) -> None:
    """Params: t in [0, 255]; 0 keeps the superpixel means."""
    means = load_arrays(context.inputs["superpixels"])["means"]
    save_arrays(
        context.output, guidance=cluster(means, context.stage.params["t"]).astype(np.float32)
    )
