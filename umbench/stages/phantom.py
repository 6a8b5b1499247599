"""Stage `phantom`: draw the procedural chest CT set, several subjects at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.launch import launch, place

from umbench.data.phantom import describe_phantom_set, draw_subject
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import PIXELS, pixel_rows, save_tables

if TYPE_CHECKING:
    from umbench.data.rows import Rows

WORTH_A_PROCESS = 8.0
"""Seconds of work that are left for several processes to be started."""


def run(context: Context) -> None:
    """Params: subjects, size (montage side, px), seed, montages (per subject)."""
    params = context.stage.params
    arguments = (context.scratch, *(params[k] for k in ("subjects", "size", "seed", "montages")))
    rows, started = _rows(*arguments), time.monotonic()
    for chunk in rows.missing()[:1]:
        _draw(rows, chunk, *arguments[1:])
    left = len(rows.missing())
    seconds = (time.monotonic() - started) * left
    processes = min(os.cpu_count() or 1, left) if seconds > WORTH_A_PROCESS else 1
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
        _draw(rows, chunk, subjects, size, seed, montages)
        progress(rows.done, rows.count, "images")


def _draw(rows: Rows, chunk: slice, subjects: int, size: int, seed: int, montages: int) -> None:
    """A chunk may begin or end within a subject, whose other montages are then left out."""
    first, last = chunk.start // montages, (chunk.stop - 1) // montages
    drawn = [draw_subject(number, size, seed, montages) for number in range(first, last + 1)]
    images, masks = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    inside = slice(chunk.start - first * montages, chunk.stop - first * montages)
    rows.put(chunk, images=images[inside], masks=masks[inside])
