"""Stage `sample`: draw annotated images from a trained (or untrained) entry as a set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from umbench_baselines import entries
from umbench_baselines.contracts import AnnotatedBatch, LabelMaps, Pictures, as_conditions
from umbench_baselines.launch import device_processes, launch, place
from umbench_baselines.training import Devices

from umbench.data.annotated_set import SetInfo, write_pictures
from umbench.data.rows import write_arrays
from umbench.errors import InputError
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import (
    PIXELS,
    SET,
    SplitTable,
    label_maps,
    load_arrays,
    load_set,
    load_split,
    load_trained,
    pixel_rows,
    save_arrays,
    save_tables,
)

if TYPE_CHECKING:
    from umbench.data.rows import Rows
    from umbench.stages.values import Sample


def run(context: Context[Sample]) -> dict[str, Any]:
    """Writes a set of generated images.

    Where the generator starts from real guidance or masks: held-out conditions first, then train.
    Images are drawn batch by batch on every device, straight to files; a kill loses one batch.
    """
    processes = device_processes()
    drawing = Drawing(context)  # begins the files that all processes fill
    if processes == 1:
        drawing.fill(context.progress)
    else:
        launch(draw, (context.silent(),), processes, context.progress)
    made = drawing.rows.arrays
    kept = drawing.kept()
    pixels = {name: array for name, array in made.items() if name != "doubt"}
    stage = context.stage
    info, table = describe(drawing.data.info, stage.name, len(kept), stage.seed)
    if "masks" not in pixels:
        table["mask_file_name"] = ""
    save_tables(context.output, info, table)
    write_pictures(context.output / SET, table, pixels["images"], pixels.get("masks"), kept)
    conditioned = drawing.condition_rows
    save_arrays(context.output, rows=np.full(len(kept), -1) if conditioned is None else conditioned)
    if len(kept) == drawing.rows.count:
        drawing.rows.finish(context.output / PIXELS)
    else:
        write_arrays(context.output / PIXELS, pixels, rows=kept)
    return {"processes": processes, "drawn": drawing.rows.count}


def draw(context: Context[Sample], progress: Progress) -> None:
    """What each of several processes does."""
    Drawing(context).fill(progress)


class Drawing:
    """A generator with its networks, and the file that its images go to."""

    def __init__(self, context: Context[Sample]) -> None:
        self.stage = stage = context.stage
        self.generator = entries.get(stage.generator)
        self.data = load_set(context.folder(stage.real.data))
        self.condition_rows: np.ndarray | None = None
        self.conditions: Pictures | LabelMaps | None = None
        if self.generator.conditions is not None:
            masks = self.generator.conditions == "masks"
            table = load_split(context.folder(stage.real.split))
            rows = condition_rows(table, stage.count, stage.name, masks=masks)
            self.condition_rows = rows
            if masks:
                self.conditions = label_maps(self.data, rows)
            elif stage.guidance is not None:
                guidance = load_arrays(context.folder(stage.guidance))["guidance"]
                self.conditions = Pictures(guidance, rows)
        networks = {
            train.part.name: load_trained(context.folder(train)) for train in stage.networks
        }
        self.state = self.generator.build(networks, stage.options, Devices().device)
        self.rows = self._rows(context.scratch)

    def fill(self, progress: Progress) -> None:
        """Draw this process's share of the chunks that are missing."""
        numbers = np.array(sorted(self.data.info.classes), dtype=np.uint8)
        for chunk in self.rows.missing(*place()):
            made = self._batch(chunk)
            values: dict[str, np.ndarray] = {"images": to_grey(made.images, self.data.images.dtype)}
            if made.masks is not None:
                values["masks"] = numbers[made.masks.numpy()]
            if made.conditions is not None:
                values["conditions"] = made.conditions[:, 0].round().numpy().astype(np.uint8)
            if made.doubt is not None:
                values["doubt"] = made.doubt.numpy().astype(np.float32)
            self.rows.put(chunk, **values)
            progress(self.rows.done, self.rows.count, "images")

    def kept(self) -> np.ndarray:
        """Numbers of the images that are kept of those drawn."""
        doubt = self.rows.arrays.get("doubt")
        if doubt is None:
            return np.arange(self.rows.count)
        return self.generator.keep(torch.from_numpy(doubt.copy()), self.stage.count).numpy()

    def _batch(self, chunk: slice) -> AnnotatedBatch:
        real = self.conditions
        conditions = None if real is None else as_conditions(real, chunk)
        return self.generator.sample(
            self.state, chunk.stop - chunk.start, self.stage.seed, conditions, start=chunk.start
        )

    def _rows(self, scratch: Path) -> Rows:
        byte, count = np.dtype(np.uint8), self.generator.drawn(self.stage.count, self.state)
        shape = (count, *self.data.images.shape[1:])
        shapes = {"images": (shape, self.data.images.dtype)}
        if self.generator.annotates(self.stage.options):
            shapes["masks"] = (shape, byte)
        if self.generator.guided:
            shapes["conditions"] = (shape, byte)
        if self.generator.chooses:
            shapes["doubt"] = ((count,), np.dtype(np.float32))
        return pixel_rows(scratch, shapes)


def condition_rows(table: SplitTable, count: int, name: str, *, masks: bool) -> np.ndarray:
    """Rows whose guidance conditions the samples; none is used twice."""
    rows = table.conditions(masks=masks)
    if count > len(rows):
        raise InputError(
            f"samples: {count} asked of {name}, but validation and train hold {len(rows)} "
            "conditions; lower samples or leave the entry out"
        )
    return rows[:count]


def to_grey(images: torch.Tensor, kind: np.dtype) -> np.ndarray:
    """Images (n, 1, H, W) in [0, 1] as a set stores them: (n, H, W) uint8 or uint16."""
    levels = np.iinfo(kind).max
    return np.round(images[:, 0].clamp(0, 1).numpy() * levels).astype(kind)


def describe(like: SetInfo, name: str, count: int, seed: int) -> tuple[SetInfo, pd.DataFrame]:
    """A set of generated images, in the form and encoding of the real one, but its pictures."""
    table = pd.DataFrame(
        {
            "file_name": [f"images/{i:05d}.png" for i in range(count)],
            "mask_file_name": [f"masks/{i:05d}.png" for i in range(count)],
            "subject": [f"{name}-{seed}-{i:05d}" for i in range(count)],
            "split": "",
            "sex": "",
            "age": np.nan,
        }
    )
    info = SetInfo(
        name=f"{name} (seed {seed})",
        encoding=like.encoding,
        classes=like.classes,
        layout=like.layout,
        spacing=like.spacing,
        provenance={"generator": name, "seed": seed},
    )
    return info, table
