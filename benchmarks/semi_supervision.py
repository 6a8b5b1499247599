"""Does semi-supervision teach? G2's segmentation of held-out images, by how pixels are trusted.

    python benchmarks/semi_supervision.py [--seeds 0,1,2] [--arms supervised,errors] [--json]

The phantom of suite `quick`: 120 images to train on, 40 of them labelled, 60 held out. Every arm
makes the same number of steps. Arms:

- supervised: labelled images alone;
- published: D^S tells one-hot truth from softmax predictions, and pixels are trusted where its
  confidence exceeds 0.2 (Hung et al. 2018);
- shapes: the same, but predictions are made one-hot, too;
- errors: what the presets do (docs/method.md);
- everything: every pixel of every pseudo-segmentation is trusted.

Dice is the mean over held-out images (empty against empty is 1); `right` is how many of the
trusted pixels bear the true label.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from umbench_baselines.contracts import LabelMaps, Pictures, TrainingData
from umbench_baselines.guidance.superpixels import COMPACTNESS, segment
from umbench_baselines.guidance.unsupervised_mask import guidance_of
from umbench_baselines.training import TrainingRun
from umbench_baselines.translation.networks import Translator
from umbench_baselines.translation.presets import preset
from umbench_baselines.translation.pseudo import UNTRUSTED, read_pseudo
from umbench_baselines.translation.train import train_translation
from umbench_baselines.weights import resolve_perceptual

from umbench.data.phantom import make_phantom_set
from umbench.data.splits import split_rows

SUBJECTS, SIZE, COUNT, T = 240, 128, 128, 50
CLASSES = {1: "lung", 2: "lesion"}
ARMS: dict[str, dict[str, Any]] = {
    "supervised": {},
    "published": {"judge": "published", "trusted": 1.0},
    "shapes": {"judge": "shapes", "trusted": 1.0},
    "errors": {},
    "everything": {"trusted": 1.0, "confidence": 0.0},
}


@dataclass(frozen=True)
class Row:
    """What one training gave. dice, share and right are per class."""

    arm: str
    seed: int
    dice: Mapping[str, float]
    share: Mapping[str, float]
    right: Mapping[str, float]
    seconds: float


def phantom(compactness: float, labelled: int) -> tuple[TrainingData, TrainingData]:
    """Images to train on and held-out ones, all of them with guidance."""
    data = make_phantom_set(SUBJECTS, SIZE, seed=1)
    assert data.masks is not None
    counts = {"train": 120, "validation": 60, "test": 60}
    split, known = split_rows(data.table, counts, labelled, seed=0)
    guidance = np.stack([
        guidance_of(image, segment(image, "slic", COUNT, compactness, data.info.layout), T)
        for image in data.images
    ])  # fmt: skip
    masks = LabelMaps(data.masks, np.arange(len(data)), (0, 1, 2), known)
    everything = TrainingData(
        Pictures.of(data.images), Pictures.of(guidance), masks, torch.from_numpy(known), 3, T
    )
    splits = split.to_numpy()
    train, test = (torch.from_numpy(np.flatnonzero(splits == s)) for s in ("train", "test"))
    return everything.take(train), everything.take(test)


def truth(data: TrainingData) -> np.ndarray:
    """Label maps of all rows, withheld ones too."""
    return data.masks.values[data.masks.rows]


def dice(model: Translator, data: TrainingData) -> dict[str, float]:
    """Mean Dice per class of the segmentations of held-out guidance."""
    assert data.guidance is not None
    probabilities = model.translate(data.guidance.batch(slice(None)))[1]
    assert probabilities is not None
    found, true = probabilities.argmax(1).numpy(), truth(data)
    scores = {}
    for k, name in CLASSES.items():
        overlap = 2 * ((found == k) & (true == k)).sum((1, 2))
        total = (found == k).sum((1, 2)) + (true == k).sum((1, 2))
        scores[name] = float(np.where(total > 0, overlap / np.maximum(total, 1), 1.0).mean())
    return scores


def trusted_right(folder: Path, data: TrainingData) -> dict[str, float]:
    """Share of the trusted pixels of a class that bear the true label."""
    found = read_pseudo(folder, data)
    if found is None:
        return {}
    rows, labels = found
    right = labels == truth(data)[rows]
    shares = {
        name: float(right[labels == k].mean()) if (labels == k).any() else float("nan")
        for k, name in CLASSES.items()
    }
    return shares | {"all": float(right[labels != UNTRUSTED].mean())}


def measure(arm: str, seed: int, name: str, train: TrainingData, test: TrainingData) -> Row:
    """Train one arm and look at what it learnt."""
    network, sha256 = resolve_perceptual("auto")
    config = preset(
        name, size=SIZE, count=len(train.images), perceptual=network, perceptual_sha256=sha256
    )
    data = train.take(train.labelled) if arm == "supervised" else train
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        model, facts = train_translation(
            data, "guidance", replace(config, **ARMS[arm]), TrainingRun(Path(folder), seed=seed)
        )
        seconds = time.process_time() - start
        shares = facts.get("trusted_share", {})
        return Row(
            arm, seed, dice(model, test),
            {CLASSES.get(int(k), k) if k != "all" else k: v for k, v in shares.items()},
            trusted_right(Path(folder), data), seconds,
        )  # fmt: skip


@click.command()
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--arms", default=",".join(ARMS), show_default=True)
@click.option("--preset", "name", default="quick", show_default=True)
@click.option("--compactness", default=COMPACTNESS, show_default=True)
@click.option("--labelled", default=40, show_default=True, help="Images with masks.")
@click.option("--json", "as_json", is_flag=True, help="One object per training on stdout.")
def main(
    seeds: str, arms: str, name: str, compactness: float, labelled: int, as_json: bool
) -> None:
    """Train the arms with each seed; print means over seeds."""
    train, test = phantom(compactness, labelled)
    rows = []
    for seed in map(int, seeds.split(",")):
        for arm in arms.split(","):
            rows.append(measure(arm, seed, name, train, test))
            if as_json:
                print(json.dumps(asdict(rows[-1])), flush=True)
    if not as_json:
        show(rows)


def show(rows: list[Row]) -> None:
    """A table of means over seeds."""
    table = Table(title="Held-out segmentations of G2")
    columns = [f"Dice {c}" for c in CLASSES.values()]
    columns += [f"{what} {c}" for c in CLASSES.values() for what in ("trusted", "right")]
    for column in ("arm", *columns, "seconds"):
        table.add_column(column)
    for arm in dict.fromkeys(row.arm for row in rows):
        mine = [row for row in rows if row.arm == arm]
        cells = [[row.dice[c] for row in mine] for c in CLASSES.values()]
        for c in CLASSES.values():
            cells += [[row.share.get(c, np.nan) for row in mine]]
            cells += [[row.right.get(c, np.nan) for row in mine]]
        seconds = f"{np.mean([row.seconds for row in mine]):.0f}"
        table.add_row(arm, *(f"{np.mean(cell):.3f}" for cell in cells), seconds)
    Console().print(table)


if __name__ == "__main__":
    main()
