"""Does utility tell good pairs from bad ones? The controls of the `quick` suite, over seeds.

    python benchmarks/utility_controls.py [--preset quick] [--seeds 3] [--labelled 8] [--json]

Trains the segmenter on labelled pairs of the phantom, alone and beside each control: copies of
them (nothing new), held-out pairs (what a perfect generator would make), the same with their
masks shuffled (harm). A difference from `real` counts where it is larger than the least one that
is significant at the 5 % level, by the spread over seeds within all arms together. It is lesion
Dice over images with lesions: one without scores 0 for a single wrong pixel, and is noise here.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student
from umbench_baselines.segmenter import SegmenterConfig, preset, train_segmenter
from umbench_baselines.training import TrainingRun

from umbench.data.annotated_set import AnnotatedSet
from umbench.data.phantom import make_phantom_set
from umbench.data.splits import split_rows
from umbench.stages.artifacts import SplitTable
from umbench.stages.segment import control_rows, load_pairs, score

SPLITS = {"train": 120, "validation": 60, "test": 60}
SIZE, COUNT = 128, 60
ARMS = ("real", "copies", "held-out", "shuffled")
LUNG, LESION = 1, 2


@dataclass(frozen=True)
class Row:
    """One training: mean Dice over all test images, and over the `n` that have lesions."""

    arm: str
    seed: int
    lung: float
    lesion: float
    lesion_where: float
    n: int
    seconds: float


def quick_data(count: int) -> tuple[AnnotatedSet, SplitTable]:
    """The set and the split of suites/quick.yaml, `count` images of train being labelled."""
    data = make_phantom_set(sum(SPLITS.values()), SIZE, 1)
    split, labelled = split_rows(data.table, SPLITS, count, seed=0)
    subject = data.table["subject"].to_numpy(dtype=str)
    return data, SplitTable(split=split.to_numpy(dtype=str), labelled=labelled, subject=subject)


def measure(
    data: AnnotatedSet, table: SplitTable, arm: str, seed: int, config: SegmenterConfig
) -> Row:
    """Train one arm and score it on the test split."""
    further = None
    if arm != "real":
        further = load_pairs(data, *control_rows(arm, table, COUNT, seed))
    classes, test = len(data.info.classes), table.rows("test")
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = train_segmenter(
            load_pairs(data, table.labelled_rows()),
            classes,
            config,
            TrainingRun(Path(folder), seed=seed),
            synthetic=further,
        )
    seconds = time.process_time() - start
    scores = score(model, load_pairs(data, test), classes)
    where = scores.in_truth[:, LESION]
    return Row(
        arm=arm,
        seed=seed,
        lung=float(scores.values[:, LUNG].mean()),
        lesion=float(scores.values[:, LESION].mean()),
        lesion_where=float(scores.values[where, LESION].mean()),
        n=int(where.sum()),
        seconds=seconds,
    )


def least_difference(values: Mapping[str, np.ndarray]) -> float:
    """The smallest difference of two arms' means over seeds that is significant at 5 %."""
    seeds = len(next(iter(values.values())))
    freedom = len(values) * (seeds - 1)
    spread = np.sqrt(np.mean([np.var(found, ddof=1) for found in values.values()]))
    return float(student.ppf(0.975, freedom) * spread * np.sqrt(2 / seeds))


def verdict(rows: list[Row]) -> dict[str, float | bool]:
    """Lesion Dice of each control less that of `real`, and whether it is as it should be."""
    values = {arm: np.array([row.lesion_where for row in rows if row.arm == arm]) for arm in ARMS}
    least = least_difference(values)
    gain = {arm: float(values[arm].mean() - values["real"].mean()) for arm in ARMS[1:]}
    return {
        "least difference": least,
        **gain,
        "copies change nothing": abs(gain["copies"]) <= least,
        "held-out pairs help": gain["held-out"] > least,
        "shuffled masks hurt": gain["shuffled"] < -least,
    }


def show(rows: list[Row], found: Mapping[str, float | bool]) -> None:
    """The table and the verdict on standard output."""
    table = Table("arm", "seed", "lung", "lesion", "where there are", "n", "CPU s")
    for row in sorted(rows, key=lambda row: (ARMS.index(row.arm), row.seed)):
        scores = (f"{value:.3f}" for value in (row.lung, row.lesion, row.lesion_where))
        table.add_row(row.arm, str(row.seed), *scores, str(row.n), f"{row.seconds:.1f}")
    console = Console()
    console.print(table)
    for name, value in found.items():
        text = ("yes" if value else "NO") if isinstance(value, bool) else f"{value:+.3f}"
        console.print(f"{name}: {text}")


@click.command(help=__doc__)
@click.option("--preset", "name", default="quick", show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="Times the preset's steps.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=2))
@click.option("--labelled", default=8, show_default=True, help="Images with masks in train.")
@click.option("--json", "as_json", is_flag=True)
def main(name: str, scale: float, seeds: int, labelled: int, as_json: bool) -> None:
    """Print the table and the verdict; exit status 1 where the order is not as it should be."""
    data, table = quick_data(labelled)
    rows = []
    for seed in range(seeds):
        for arm in ARMS:
            rows.append(measure(data, table, arm, seed, preset(name, scale)))
            print(f"{arm} seed {seed}: {rows[-1].lesion_where:.3f}", file=sys.stderr)
    found = verdict(rows)
    if as_json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "verdict": found}, indent=1))
    else:
        show(rows, found)
    sys.exit(0 if all(value for value in found.values() if isinstance(value, bool)) else 1)


if __name__ == "__main__":
    main()
