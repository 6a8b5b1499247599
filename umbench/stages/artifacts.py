"""How stages write and read what they hand to each other: arrays, tables, sets, models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor, nn
    from umbench_baselines.contracts import LabelMaps, Pictures, TrainingData

    from umbench.data.annotated_set import AnnotatedSet

SET = "set"
ARRAYS = "arrays.safetensors"
MODEL = "model.safetensors"


def save_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    save_file(contiguous, folder / ARRAYS)


def load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote."""
    from safetensors.numpy import load_file

    return load_file(folder / ARRAYS)


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV whose bytes depend on the values alone."""
    table.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def save_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def save_model(folder: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write a module's weights as safetensors and what is needed to build it as JSON."""
    from safetensors.torch import save_file

    state = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(state, folder / MODEL)
    save_json(folder / "model.json", facts)


def load_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_model` wrote: state and facts."""
    from safetensors.torch import load_file

    return load_file(folder / MODEL), json.loads((folder / "model.json").read_text())


@dataclass(frozen=True)
class SplitTable:
    """Which rows of a set are for what; `labelled` rows of train have masks that may be used."""

    split: np.ndarray
    labelled: np.ndarray
    subject: np.ndarray

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split, in the set's order."""
        return np.flatnonzero(self.split == split)

    def spread(self, rows: np.ndarray) -> np.ndarray:
        """The rows in an order that shows every subject once before any subject twice.

        Images of one subject are alike: a prefix should hold as many subjects as it can.
        """
        seen: dict[str, int] = {}
        turns = np.empty(len(rows), dtype=int)
        for index, subject in enumerate(self.subject[rows]):
            turns[index] = seen[subject] = seen.get(subject, -1) + 1
        return rows[np.argsort(turns, kind="stable")]

    def labelled_rows(self) -> np.ndarray:
        """Row numbers of train whose masks may be used."""
        return np.flatnonzero((self.split == "train") & self.labelled)


def load_split(folder: Path) -> SplitTable:
    """Read the split stage's table."""
    table = pd.read_csv(folder / "split.csv", keep_default_na=False, dtype={"subject": str})
    return SplitTable(
        split=table["split"].to_numpy(dtype=str),
        labelled=table["labelled"].to_numpy(dtype=bool),
        subject=table["subject"].to_numpy(dtype=str),
    )


def load_set(folder: Path) -> AnnotatedSet:
    """Read the annotated set that a stage holds."""
    from umbench.data.annotated_set import read_set

    return read_set(folder / SET)


def image_tensor(data: AnnotatedSet, rows: np.ndarray | None = None) -> Tensor:
    """Images as (N, 1, H, W) float32 in [0, 1]."""
    import torch

    unit = data.unit() if rows is None else data.take(rows).unit()
    return torch.from_numpy(np.ascontiguousarray(unit, dtype=np.float32))[:, None]


def mask_tensor(data: AnnotatedSet, rows: np.ndarray | None = None) -> Tensor:
    """Masks as (N, H, W) int64 class indices, in the order of the set's class numbers."""
    import torch

    if data.masks is None:
        raise ValueError(f"the set {data.info.name!r} has no masks")
    masks = data.masks if rows is None else data.masks[rows]
    numbers = np.array(sorted(data.info.classes))
    return torch.from_numpy(np.searchsorted(numbers, masks).astype(np.int64))


def pictures(data: AnnotatedSet, rows: np.ndarray | None = None) -> Pictures:
    """The set's images, or some of them, as they are stored."""
    from umbench_baselines.contracts import Pictures

    return Pictures(data.images, np.arange(len(data)) if rows is None else rows)


def label_maps(data: AnnotatedSet, rows: np.ndarray | None = None) -> LabelMaps:
    """The set's masks, or some of them, as they are stored; all may be read."""
    from umbench_baselines.contracts import LabelMaps

    if data.masks is None:
        raise ValueError(f"the set {data.info.name!r} has no masks")
    chosen = np.arange(len(data)) if rows is None else rows
    numbers = tuple(sorted(data.info.classes))
    return LabelMaps(data.masks, chosen, numbers, np.ones(len(chosen), dtype=bool))


def load_training_data(
    data: Path, split: Path, guidance: Path | None, t: int
) -> tuple[TrainingData, AnnotatedSet, SplitTable]:
    """The train split as tensors; masks of unlabelled rows are zeroed, not handed over."""
    import torch
    from umbench_baselines.contracts import LabelMaps, Pictures, TrainingData

    annotated, table = load_set(data), load_split(split)
    rows = table.rows("train")
    labelled = torch.from_numpy(table.labelled[rows])
    masks = mask_tensor(annotated, rows) * labelled[:, None, None]
    images = image_tensor(annotated, rows)
    grey = (
        torch.zeros_like(images)
        if guidance is None
        else torch.from_numpy(load_arrays(guidance)["guidance"][rows])[:, None]
    )
    training = TrainingData(
        images=images,
        guidance=grey,
        masks=masks,
        labelled=labelled,
        classes=len(annotated.info.classes),
        t=t,
    )
    return training, annotated, table
