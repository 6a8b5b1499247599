"""Stage `superpixels`: segment every image; depends on image, algorithm and count only."""

from __future__ import annotations

import numpy as np
from umbench_baselines.guidance.superpixels import superpixels
from umbench_baselines.guidance.unsupervised_mask import superpixel_means

from umbench.pipeline import Context
from umbench.stages.artifacts import load_set, save_arrays


def run(context: Context) -> dict[str, float]:
    """Params: algorithm, count (per tile), compactness (on the scale 0..255)."""
    params = context.stage.params
    data = load_set(context.inputs["data"])
    images = np.round(data.unit() * 255).astype(np.uint8)
    labels = superpixels(
        images,
        algorithm=params["algorithm"],
        count=params["count"],
        compactness=params["compactness"],
        layout=data.info.layout,
        progress=context.progress,
    )
    save_arrays(context.output, labels=labels, means=superpixel_means(images, labels))
    return {"superpixels_per_image": float(labels.reshape(len(labels), -1).max(axis=1).mean() + 1)}
