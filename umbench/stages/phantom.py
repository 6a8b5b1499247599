"""Stage `phantom`: draw the procedural chest CT set, several subjects at a time."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.launch import launch, place

from umbench.data.phantom import describe_phantom_set, draw_subject
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import PIXELS, pixel_rows, save_tables

if TYPE_CHECKING:
    from umbench.data.rows import Rows
    from umbench.stages.values import Phantom

WORTH_A_PROCESS = 8.0
"""Seconds of work that are left for several processes to be started."""


def run(context: Context[Phantom]) -> None:
    """Writes the set; goes on from what a kill left."""
    stage = context.stage
    rows, started = _rows(context), time.monotonic()
    for chunk in rows.missing()[:1]:
        _draw(rows, chunk, stage)
    left = len(rows.missing())
    seconds = (time.monotonic() - started) * left
    processes = min(os.cpu_count() or 1, left) if seconds > WORTH_A_PROCESS else 1
    launch(draw, (context.silent(),), processes, context.progress)
    rows.finish(context.output / PIXELS)
    info, table = describe_phantom_set(stage.subjects, stage.seed, stage.montages)
    save_tables(context.output, info, table)


def _rows(context: Context[Phantom]) -> Rows:
    stage = context.stage
    shape = (stage.subjects * stage.montages, stage.size, stage.size)
    byte = np.dtype(np.uint8)
    return pixel_rows(context.scratch, {"images": (shape, byte), "masks": (shape, byte)})


def draw(context: Context[Phantom], progress: Progress) -> None:
    """What each process does: its share of the chunks that are missing."""
    rows = _rows(context)
    for chunk in rows.missing(*place()):
        _draw(rows, chunk, context.stage)
        progress(rows.done, rows.count, "images")


def _draw(rows: Rows, chunk: slice, stage: Phantom) -> None:
    """A chunk may begin or end within a subject, whose other montages are then left out."""
    montages = stage.montages
    first, last = chunk.start // montages, (chunk.stop - 1) // montages
    drawn = [
        draw_subject(number, stage.size, stage.seed, montages) for number in range(first, last + 1)
    ]
    images, masks = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    inside = slice(chunk.start - first * montages, chunk.stop - first * montages)
    rows.put(chunk, images=images[inside], masks=masks[inside])
