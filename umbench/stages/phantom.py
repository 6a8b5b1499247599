"""Stage `phantom`: draw the procedural chest CT set, several subjects at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.launch import launch, place

from umbench.data.phantom import describe_phantom_set, draw_subject
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import PIXELS, pixel_rows, save_tables

if TYPE_CHECKING:
    from umbench.data.rows import Rows


def run(context: Context) -> None:
    """Params: subjects, size (montage side, px), seed, montages (per subject)."""
    params = context.stage.params
    arguments = (context.scratch, *(params[k] for k in ("subjects", "size", "seed", "montages")))
    rows = _rows(*arguments)
    processes = max(1, min(os.cpu_count() or 1, len(rows.missing())))
    launch(draw, arguments, processes, context.progress)
    rows.finish(context.output / PIXELS)
    save_tables(
        context.output,
        *describe_phantom_set(params["subjects"], params["seed"], params["montages"]),
    )


def _rows(scratch: Path, subjects: int, size: int, seed: int, montages: int) -> Rows:
    shape = (subjects * montages, size, size)
    byte = np.dtype(np.uint8)
    return pixel_rows(scratch, {"images": (shape, byte), "masks": (shape, byte)})


def draw(
    scratch: Path, subjects: int, size: int, seed: int, montages: int, progress: Progress
) -> None:
    """What each process does: its share of the chunks that are missing."""
    rows = _rows(scratch, subjects, size, seed, montages)
    for chunk in rows.missing(*place()):
        drawn: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        images, masks = [], []
        for row in range(chunk.start, chunk.stop):
            number, index = divmod(row, montages)
            if number not in drawn:
                drawn = {number: draw_subject(number, size, seed, montages)}
            images.append(drawn[number][0][index])
            masks.append(drawn[number][1][index])
        rows.put(chunk, images=np.stack(images), masks=np.stack(masks))
        progress(rows.done, rows.count, "images")
