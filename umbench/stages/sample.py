"""Stage `sample`: draw annotated images from a trained (or untrained) entry as a set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from umbench_baselines.contracts import LabelMaps, Pictures
from umbench_baselines.entries import PARTS, get
from umbench_baselines.launch import device_processes, launch, place
from umbench_baselines.parts import Sampler
from umbench_baselines.training import Devices

from umbench.data.annotated_set import SetInfo, write_pictures
from umbench.data.rows import write_arrays
from umbench.errors import InputError
from umbench.pipeline import Context, Progress, Stage
from umbench.stages.artifacts import (
    PIXELS,
    SET,
    SplitTable,
    label_maps,
    load_arrays,
    load_set,
    load_split,
    load_weights,
    pixel_rows,
    save_arrays,
    save_tables,
)

if TYPE_CHECKING:
    from umbench.data.rows import Rows


def run(context: Context) -> dict[str, Any]:
    """Params: entry, name, count, seed, psi, t. Inputs: data, split, the parts, and guidance where
    the entry starts from real guidance: held-out conditions first, then train.

    Images are drawn batch by batch on every device, straight to files; a kill loses one batch.
    """
    processes = device_processes()
    arguments = (context.stage, context.inputs, context.scratch)
    drawing = Drawing(*arguments)  # begins the files that all processes fill
    if processes == 1:
        drawing.fill(context.progress)
    else:
        launch(draw, arguments, processes, context.progress)
    made = drawing.rows.arrays
    kept = drawing.sampler.keep(
        torch.from_numpy(made["doubt"].copy()) if "doubt" in made else None
    ).numpy()
    pixels = {name: array for name, array in made.items() if name != "doubt"}
    params = context.stage.params
    info, table = describe(drawing.data.info, params["name"], len(kept), params["seed"])
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
    return {"processes": processes, "drawn": drawing.sampler.drawn}


def draw(stage: Stage, inputs: Mapping[str, Path], scratch: Path, progress: Progress) -> None:
    """What each of several processes does."""
    Drawing(stage, inputs, scratch).fill(progress)


class Drawing:
    """The sampler of a stage and the file that its images go to."""

    def __init__(self, stage: Stage, inputs: Mapping[str, Path], scratch: Path) -> None:
        params = stage.params
        entry = get(params["entry"])
        self.data, table = load_set(inputs["data"]), load_split(inputs["split"])
        self.condition_rows: np.ndarray | None = None
        conditions: Pictures | LabelMaps | None = None
        if entry.conditions is not None:
            masks = entry.conditions == "masks"
            rows = condition_rows(table, params["count"], params["name"], masks=masks)
            self.condition_rows = rows
            conditions = (
                label_maps(self.data, rows)
                if masks
                else Pictures(load_arrays(inputs["guidance"])["guidance"], rows)
            )
        roles = [role for role in inputs if role in PARTS]
        self.sampler = Sampler(
            entry,
            {role: load_weights(inputs[role]) for role in roles},
            count=params["count"],
            seed=params["seed"],
            conditions=conditions,
            t=params["t"],
            psi=params["psi"],
            device=Devices().device,
        )
        self.rows = self._rows(scratch, from_guidance="g2-guidance" in roles)

    def fill(self, progress: Progress) -> None:
        """Draw this process's share of the chunks that are missing."""
        numbers = np.array(sorted(self.data.info.classes), dtype=np.uint8)
        for chunk in self.rows.missing(*place()):
            made = self.sampler.batch(chunk)
            values: dict[str, np.ndarray] = {"images": to_grey(made.images, self.data.images.dtype)}
            if made.masks is not None:
                values["masks"] = numbers[made.masks.numpy()]
            if made.conditions is not None:
                values["conditions"] = made.conditions[:, 0].round().numpy().astype(np.uint8)
            if made.doubt is not None:
                values["doubt"] = made.doubt.numpy().astype(np.float32)
            self.rows.put(chunk, **values)
            progress(self.rows.done, self.rows.count, "images")

    def _rows(self, scratch: Path, *, from_guidance: bool) -> Rows:
        byte, count = np.dtype(np.uint8), self.sampler.drawn
        shape = (count, *self.data.images.shape[1:])
        shapes = {"images": (shape, self.data.images.dtype)}
        if self.sampler.annotates:
            shapes["masks"] = (shape, byte)
        if from_guidance:
            shapes["conditions"] = (shape, byte)
        if self.sampler.doubts:
            shapes["doubt"] = ((count,), np.dtype(np.float32))
        return pixel_rows(scratch, shapes)


def condition_rows(table: SplitTable, count: int, name: str, *, masks: bool) -> np.ndarray:
    """Rows whose guidance conditions the samples; none is used twice.

    Held-out ones first. masks: those of train are taken only where they are labelled, since a
    label mask that conditions an image was drawn by somebody.
    """
    train = table.labelled_rows() if masks else table.rows("train")
    rows = np.concatenate([table.spread(table.rows("validation")), table.spread(train)])
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
