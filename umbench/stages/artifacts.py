"""How stages write and read what they hand to each other: arrays, tables, sets, models.

A set in the store is its set.json and metadata.csv, and its pictures as arrays that are mapped:
they are decoded once, and a stage reads the rows that it needs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from umbench.data.rows import Rows, Shapes, chunk_rows, map_arrays, write_arrays

if TYPE_CHECKING:
    from umbench_baselines.contracts import LabelMaps, Pictures, Trained, TrainingData

    from umbench.data.annotated_set import AnnotatedSet
    from umbench.data.set_info import SetInfo

SET = "set"
PIXELS = "pixels.safetensors"
ARRAYS = "arrays.safetensors"
MODEL = "model.safetensors"
MODEL_FACTS = "model.json"
FACTS = "extractor.json"
"""Of the networks behind features, one per fold."""


def save_arrays(folder: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as safetensors; they may be memory maps."""
    write_arrays(folder / ARRAYS, arrays)


def load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote, as memory maps."""
    return map_arrays(folder / ARRAYS)


def save_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV whose bytes depend on the values alone."""
    table.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")


def save_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def load_json(path: Path) -> Any:
    """Read what `save_json` wrote."""
    return json.loads(path.read_text())


def save_trained(folder: Path, trained: Trained) -> None:
    """Write a network's weights as safetensors and what is needed to build it as JSON."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous().cpu() for name, value in trained.weights.items()}
    save_file(weights, folder / MODEL)
    save_json(folder / MODEL_FACTS, dict(trained.facts))


def load_trained(folder: Path) -> Trained:
    """Read what `save_trained` wrote."""
    from safetensors.torch import load_file
    from umbench_baselines.contracts import Trained

    return Trained(load_file(folder / MODEL), load_json(folder / MODEL_FACTS))


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

    def conditions(self, *, masks: bool) -> np.ndarray:
        """Row numbers whose guidance may condition samples, held-out ones first.

        masks: whether label masks are the condition. Those of train count only where they are
        labelled: a label mask that conditions an image was drawn by somebody.
        """
        train = self.labelled_rows() if masks else self.rows("train")
        return np.concatenate([self.spread(self.rows("validation")), self.spread(train)])

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
    """The annotated set that a stage holds; its images and masks are memory maps."""
    from umbench.data.annotated_set import AnnotatedSet, read_tables

    info, table = read_tables(folder / SET)
    arrays = map_arrays(folder / PIXELS)
    return AnnotatedSet(info, arrays["images"], arrays.get("masks"), table)


def save_tables(folder: Path, info: SetInfo, table: pd.DataFrame) -> None:
    """Write a set's set.json and metadata.csv; its pictures are written apart from them."""
    from umbench.data.annotated_set import write_tables

    (folder / SET).mkdir(exist_ok=True)
    write_tables(folder / SET, info, table)


def pixel_rows(scratch: Path, shapes: Shapes, name: str = "pixels") -> Rows:
    """Arrays of pictures that are made chunk by chunk in a stage's scratch folder."""
    per_row = sum(
        int(np.prod(shape[1:])) * np.dtype(kind).itemsize for shape, kind in shapes.values()
    )
    count = next(iter(shapes.values()))[0][0]
    return Rows(scratch, shapes, chunk_rows(per_row, count), name)


def pictures(data: AnnotatedSet, rows: np.ndarray | None = None) -> Pictures:
    """A set's images, or some of them, for networks: converted when a batch is drawn."""
    from umbench_baselines.contracts import Pictures

    return Pictures(data.images, np.arange(len(data)) if rows is None else rows)


def label_maps(
    data: AnnotatedSet, rows: np.ndarray | None = None, known: np.ndarray | None = None
) -> LabelMaps:
    """A set's masks as class indices, in the order of its class numbers.

    known: which of the rows may be read; by default all. ValueError for a set without masks.
    """
    from umbench_baselines.contracts import LabelMaps

    if data.masks is None:
        raise ValueError(f"the set {data.info.name!r} has no masks")
    chosen = np.arange(len(data)) if rows is None else rows
    readable = np.ones(len(chosen), dtype=bool) if known is None else known
    return LabelMaps(data.masks, chosen, tuple(sorted(data.info.classes)), readable)


def load_training_data(
    annotated: AnnotatedSet, table: SplitTable, guidance: Path | None, t: int
) -> TrainingData:
    """The train split; masks of unlabelled rows are hidden."""
    import torch
    from umbench_baselines.contracts import Pictures, TrainingData

    rows = table.rows("train")
    labelled = table.labelled[rows]
    return TrainingData(
        images=pictures(annotated, rows),
        guidance=(None if guidance is None else Pictures(load_arrays(guidance)["guidance"], rows)),
        masks=label_maps(annotated, rows, labelled),
        labelled=torch.from_numpy(labelled),
        classes=len(annotated.info.classes),
        t=t,
        layout=annotated.info.layout,
    )
