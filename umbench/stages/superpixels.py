"""Stage `superpixels`: segment every image; depends on image, algorithm and its parameters only."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.guidance.superpixels import segment

from umbench.data.annotated_set import AnnotatedSet
from umbench.errors import InputError
from umbench.pipeline import Context
from umbench.stages.artifacts import ARRAYS, load_set, load_trained, pixel_rows

if TYPE_CHECKING:
    from umbench.stages.values import Superpixels

MOST = np.iinfo(np.uint16).max + 1


def run(context: Context[Superpixels]) -> dict[str, float]:
    """Writes labels (N, H, W) uint16; goes on from what a kill left."""
    stage = context.stage
    data = load_set(context.folder(stage.data))
    rows = pixel_rows(context.scratch, {"labels": (data.images.shape, np.dtype(np.uint16))})
    network = None
    if stage.network is not None:
        network = stage.network.part.build(load_trained(context.folder(stage.network)))

    def labels(row: int) -> np.ndarray:
        found = segment(
            grey(data, row), stage.algorithm, stage.count, stage.compactness,
            data.info.layout, network,
        )  # fmt: skip
        if found.max() >= MOST:
            raise InputError(
                f"guidance.count: {stage.algorithm} made {found.max() + 1} superpixels of one "
                f"image, but at most {MOST} are kept; ask for fewer"
            )
        return found.astype(np.uint16)

    # segmentation leaves the interpreter's lock, so threads do
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for chunk in rows.missing():
            made = threads.map(labels, range(chunk.start, chunk.stop))
            rows.put(chunk, labels=np.stack(list(made)))
            context.progress(rows.done, rows.count, "superpixels")
    counts = [int(image.max()) + 1 for image in rows.arrays["labels"]]
    rows.finish(context.output / ARRAYS)
    tiles = int(np.prod(data.info.layout or (1, 1)))
    return {
        "superpixels_asked": stage.count * tiles,
        "superpixels_per_image": float(np.mean(counts)),
    }


def grey(data: AnnotatedSet, row: int) -> np.ndarray:
    """One image on the scale 0 to 255, (H, W) uint8."""
    image = np.asarray(data.images[row])
    if image.dtype == np.uint8:
        return image
    return np.round(image.astype(np.float32) / np.iinfo(image.dtype).max * 255).astype(np.uint8)
