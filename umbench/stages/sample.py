"""Stage `sample`: draw annotated images from a trained (or untrained) entry as a set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from umbench_baselines.entries import get
from umbench_baselines.parts import draw

from umbench.data.annotated_set import AnnotatedSet, SetInfo, write_set
from umbench.errors import InputError
from umbench.pipeline import Context
from umbench.stages.artifacts import (
    SET,
    SplitTable,
    load_arrays,
    load_set,
    load_split,
    load_weights,
    mask_tensor,
    save_arrays,
)


def run(context: Context) -> None:
    """Params: entry, count, seed, psi, t. Inputs: data, split, the parts, and guidance where
    the entry starts from real guidance: held-out conditions first, then train.
    """
    params = context.stage.params
    entry = get(params["entry"])
    data, table = load_set(context.inputs["data"]), load_split(context.inputs["split"])
    conditions, rows = None, None
    if entry.conditions is not None:
        masks = entry.conditions == "masks"
        rows = condition_rows(table, params["count"], entry.name, masks=masks)
        conditions = (
            mask_tensor(data, rows)
            if masks
            else torch.from_numpy(load_arrays(context.inputs["guidance"])["guidance"][rows])[
                :, None
            ]
        )
    parts = {name: load_weights(context.inputs[name]) for name in entry.parts}
    batch = draw(
        entry,
        parts,
        count=params["count"],
        seed=params["seed"],
        conditions=conditions,
        t=params["t"],
        psi=params["psi"],
        size=data.images.shape[-1],
        progress=context.progress,
    )
    generated = as_set(data, entry.name, batch.images, batch.masks, params["seed"])
    write_set(context.output / SET, generated)
    extra = {} if batch.conditions is None else {"conditions": batch.conditions.numpy()}
    save_arrays(
        context.output,
        rows=np.full(params["count"], -1) if rows is None else rows,
        **extra,
    )


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


def as_set(
    like: AnnotatedSet, name: str, images: torch.Tensor, masks: torch.Tensor, seed: int
) -> AnnotatedSet:
    """Generated tensors in the same form and encoding as the real set."""
    levels = 2**like.info.encoding.bits - 1
    grey = np.round(images[:, 0].clamp(0, 1).numpy() * levels).astype(like.images.dtype)
    numbers = np.array(sorted(like.info.classes), dtype=np.uint8)
    count = len(grey)
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
        encoding=like.info.encoding,
        classes=like.info.classes,
        layout=like.info.layout,
        spacing=like.info.spacing,
        provenance={"generator": name, "seed": seed},
    )
    return AnnotatedSet(info=info, images=grey, masks=numbers[masks.numpy()], table=table)
