"""Does the paper's size fit its machine: 3285 montages of 1024 px, 4 GPUs of 24 GB, 128 GB?

    python benchmarks/paper_size.py [--only ROW] [--list] [--folder DIR]

Memory of the host is measured: each stage runs for real in a process of its own, at 1024 px with
a few images and at 128 px with two numbers of many. What it takes more for each image of 128 px,
times 64, is what one of 1024 px would take; the line through the measured point at 1024 px is
drawn on to the paper's number of images. Private memory alone counts: maps of files are shared
and can be dropped. Networks are narrow, since they are on the device (`paper_size_stage.py`);
what they take there is told by `umbench.suite.cost`, from the paper's networks themselves.

Prints one line per row with its target, and "within" or "MISSED"; the exit status is 1 if any
was missed. Some rows take minutes.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from paper_size_chunks import flags_of, mark, marked
from paper_size_report import page_size
from paper_size_stage import jobs, needs_of

from umbench.suite.cost import stage_costs
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

if TYPE_CHECKING:
    from umbench.pipeline import Plan
    from umbench.suite.schema import Suite

STAGE = Path(__file__).with_name("paper_size_stage.py")
SIZE, SMALL = 1024, 128
FEW, MANY = 6, (200, 1200)
CUDA = 0.3
"""GiB of private memory that a process takes on the host once CUDA runs in it (assumed)."""
CARD = 24e9 / 2**30
"""GiB of a card of 24 GB."""
TRAIN, ALL, SAMPLES, SOURCE = 1500, 3285, 1000, 15_000
"""Images of the paper's size: train, the whole set, of one sample, of a source network's fold."""


@dataclass(frozen=True)
class Result:
    """A row: what was found, what was wanted, and whether it is."""

    row: str
    found: str
    target: str
    within: bool


Rows = Iterator[Result]


def main() -> None:
    """Run the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="ROW", help="a row; may be repeated")
    parser.add_argument("--list", action="store_true", help="the names of all rows")
    parser.add_argument("--folder", type=Path, help="where to work; kept, and used again")
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return
    unknown = sorted(set(options.only or []) - set(ROWS))
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory(prefix="paper-size-") as temporary:
        folder = options.folder or Path(temporary)
        missed = 0
        for name in options.only or ROWS:
            for result in ROWS[name](folder):
                missed += not result.within
                verdict = "within" if result.within else "MISSED"
                print(f"{result.row:<34} {verdict:<7} {result.found}; target: {result.target}",
                      flush=True)  # fmt: skip
    sys.exit(missed > 0)


def child(folder: Path, stage: str, size: int, count: int, *more: str) -> list[str]:
    """The command that prepares or measures a stage."""
    place = folder / f"{size}-{count}"
    place.mkdir(parents=True, exist_ok=True)
    return [sys.executable, str(STAGE), str(place), stage, str(size), str(count), *more]


def measured(folder: Path, stage: str, size: int, count: int) -> tuple[float, float]:
    """Peak of private memory in GiB, and seconds, of a stage in a process of its own."""
    prepared(folder, stage, size, count)
    command = child(folder, stage, size, count, "--anew")
    done = subprocess.run(command, check=True, env=alone(), capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["mib"] / 1024, found["seconds"]


def alone() -> dict[str, str]:
    """The environment of a stage that has one process and one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "UMBENCH_PROCESSES": "1"}


def prepared(folder: Path, stage: str, size: int, count: int) -> None:
    """Make what a stage needs, unless a row before has."""
    place = folder / f"{size}-{count}"
    needs = needs_of(jobs(place, size, count), stage)
    if not all((place / name).exists() for name in ("data.there", *(f"{n}.there" for n in needs))):
        subprocess.run(child(folder, stage, size, count, "--prepare"), check=True, env=alone())


def host(
    row: str, stage: str, paper: int, target: float, images: Callable[[int], float] = float,
    many: tuple[int, int] = MANY, few: int = FEW,
) -> Callable[[Path], Rows]:  # fmt: skip
    """A row that is extrapolated. images: how many a stage works on in a set of so many."""

    def run(folder: Path) -> Rows:
        (low, _), (high, seconds) = (measured(folder, stage, SMALL, n) for n in many)
        start, at_size = measured(folder, stage, SIZE, few)
        slope = (high - low) / (images(many[1]) - images(many[0])) * (SIZE / SMALL) ** 2
        gib = CUDA + start + max(0.0, slope) * (paper - images(few))
        found = (
            f"{gib:.2f} GiB at {paper} images ({start:.2f} at {images(few):g} of {SIZE} px in "
            f"{at_size:.0f} s, {1024 * slope:+.2f} MiB an image; {SMALL} px: {low:.3f}, "
            f"{high:.3f} at {images(many[0]):g}, {images(many[1]):g} in {seconds:.0f} s)"
        )
        yield Result(row, found, f"under {target:g} GiB of host memory", gib < target)

    return run


def plainly(row: str, stage: str, target: float) -> Callable[[Path], Rows]:
    """A row whose stage works on the same number of images, whatever the set holds."""

    def run(folder: Path) -> Rows:
        gib, seconds = measured(folder, stage, SIZE, FEW)
        found = f"{gib + CUDA:.2f} GiB, measured at {SIZE} px in {seconds:.0f} s"
        yield Result(row, found, f"under {target:g} GiB of host memory", gib + CUDA < target)

    return run


def train(count: int) -> float:
    """Images of a made-up set that are train."""
    return 0.8 * count


@functools.cache
def costs() -> dict[str, Any]:
    """The cost of the paper's stages on 4 GPUs, by id."""
    return {cost.id: cost for cost in stage_costs(suite(), plan(), 4)}


@functools.cache
def suite() -> Suite:
    """The paper's suite on phantoms: 3285 of 1024 px."""
    (found,) = load_suites("paper-phantom")
    return found


@functools.cache
def plan() -> Plan:
    """All stages of the suite."""
    return build_plan(suite())


def devices(folder: Path) -> Rows:
    """Each kind of training, drawing and scoring on a card of the paper."""
    for kind in ("Train", "Segment", "Sample", "TaskNetwork", "Extract"):
        found = [cost for cost in costs().values() if cost.stage == kind]
        most = max(found, key=lambda cost: cost.device)
        yield Result(
            f"device memory: {kind}",
            f"{most.device:.1f} GiB per GPU ({most.id}), {sum(c.peta for c in found):,.0f} PFLOP",
            f"under {CARD:.1f} GiB on each of 4 GPUs",
            most.device < CARD,
        )


def disk(folder: Path) -> Rows:
    """What superpixels and guidance leave behind."""
    sizes = {name: costs()[name].disk for name in ("superpixels", "guidance")}
    yield Result(
        "superpixels, guidance on disk",
        ", ".join(f"{name} {size:.1f} GiB" for name, size in sizes.items()),
        "guidance uint8: one byte a pixel, labels two",
        np.isclose(sizes["guidance"] * 2**30, ALL * SIZE**2)
        and np.isclose(sizes["superpixels"] * 2**30, ALL * SIZE**2 * 2),
    )


def shares(folder: Path) -> Rows:
    """Every GPU of four has rows of its own of every batch of the paper's preset."""
    from umbench_baselines.segmenter import PRESETS as SEGMENTERS
    from umbench_baselines.stylegan.presets import preset as stylegan
    from umbench_baselines.training import share
    from umbench_baselines.translation.presets import preset as translation
    from umbench_metrics.extractors.task import PRESETS as TASKS

    config = stylegan("paper", size=SIZE, channels=1, count=TRAIN)
    stages = zip(config.resolutions, config.stage_batches, strict=True)
    batches = {
        **{f"G1 {side} px": batch for side, batch in stages},
        "G2": translation("paper", size=SIZE, count=TRAIN).batch,
        "U-Net": SEGMENTERS["paper"].batch,
        "task networks": TASKS["paper"](seed=0).batch,
    }  # fmt: skip
    for name, batch in batches.items():
        parts = [share(batch, 4, rank)[0] for rank in range(4)]
        rows = [row for part in parts for row in range(batch)[part]]
        yield Result(
            f"every GPU works: {name}",
            f"batch {batch}: {', '.join(str(len(range(batch)[part])) for part in parts)}",
            "4 shares without a row in common, 2 rows at least",
            sorted(rows) == list(range(batch)) and min(len(range(batch)[p]) for p in parts) >= 2,
        )


def checkpoints(folder: Path) -> Rows:
    """The part of the time that goes into saving, where a save takes as long as 20 steps."""
    import torch
    from umbench_baselines import training

    saves: list[tuple[float, float]] = []
    save = training.save_checkpoint

    def slow(*arguments: Any) -> None:
        started = time.monotonic()
        save(*arguments)
        time.sleep(0.1)
        saves.append((started, time.monotonic()))

    training.save_checkpoint = slow
    place = folder / "checkpoints"
    run = training.TrainingRun(folder=place, checkpoint_seconds=0.01)
    model = torch.nn.Linear(2, 2)

    def step(index: int) -> dict[str, float]:
        time.sleep(0.005)
        return {}

    try:
        training.run_loop({"model": model}, 2500, step, run, training.Devices())
    finally:
        training.save_checkpoint = save
    # from the end of the first to the end of the last that the interval asked for
    seen = saves[1:-1]
    part = sum(end - start for start, end in seen) / (seen[-1][1] - saves[0][1])
    yield Result(
        "checkpoints",
        f"{100 * part:.1f} % of the time, {len(saves)} saves of 0.1 s",
        "at most 5 % of the time",
        part <= 0.0505,
    )


def report(folder: Path) -> Rows:
    """A page with the paper's 13 rows of pictures of 1024 px, noise, which is the worst case."""
    size = page_size(folder, SIZE) / 1e6
    yield Result("report.html", f"{size:.2f} MB", "under 10 MB", size < 10)


def resumed(stage: str, count: int) -> Callable[[Path], Rows]:
    """A stage is killed when part is done; what was there is marked, and must still be there."""

    def run(folder: Path) -> Rows:
        prepared(folder, stage, SMALL, count)
        command = child(folder, stage, SMALL, count)
        scratch = folder / f"{SMALL}-{count}" / f"{stage}.scratch"
        victim = subprocess.Popen(
            command, env=alone(), stdout=subprocess.DEVNULL, start_new_session=True
        )
        while victim.poll() is None and not any(flags_of(scratch)):
            time.sleep(0.01)
        if victim.poll() is None:
            os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()
        there = [chunk for chunk, done in enumerate(flags_of(scratch)) if done]
        total = len(flags_of(scratch))
        marks = mark(scratch, there)
        done = subprocess.run(command, check=True, env=alone(), capture_output=True, text=True)
        kept = sum(
            marked(scratch.with_suffix(""), name, row) == value for name, row, value in marks
        )
        seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
        yield Result(
            f"go on after a kill: {stage}",
            f"{len(there)} of {total} chunks were there, {len(there) - kept} made again "
            f"({seconds:.1f} s for the rest)",
            "none made again",
            0 < len(there) < total and kept == len(there),
        )

    return run


def once(folder: Path) -> Rows:
    """Stages of all kinds that read a set, each asked how many pictures it decoded."""
    command = child(folder, "all", 64, 10, "--decoded")
    done = subprocess.run(command, check=True, env=alone(), capture_output=True, text=True)
    decoded = json.loads(done.stdout.splitlines()[-1])
    some = {stage: count for stage, count in decoded.items() if count}
    yield Result(
        "reading once",
        f"{', '.join(f'{stage} {count}' for stage, count in some.items())} pictures decoded; "
        f"none by {', '.join(stage for stage in decoded if stage not in some)}",
        "20 by folder (10 images, 10 masks), none by others",
        some == {"folder": 20},
    )


def precisions(folder: Path) -> Rows:
    """What every trained network of the paper's plan is asked to compute with."""
    from umbench.stages.values import Segment, TaskNetwork, Train

    kinds = {
        (type(stage).__name__, stage.precision)
        for stage in plan().stages
        if isinstance(stage, (Train, Segment, TaskNetwork)) and not stage.budget.untrained
    }
    yield Result(
        "mixed precision",
        ", ".join(f"{kind} {precision}" for kind, precision in sorted(kinds)),
        "bf16 in every training",
        {precision for _, precision in kinds} == {"bf16"},
    )


def unet(folder: Path) -> Rows:
    """The paper's U-Net: a step on one image for real beside its model, and the whole batch."""
    from umbench_baselines.costs import Place
    from umbench_baselines.segmenter import PRESETS
    from umbench_baselines.segmenter_cost import training

    command = child(folder, "u-net", SIZE // 2, 1, "--true")
    done = subprocess.run(command, check=True, env=alone(), capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    yield Result(
        "U-Net of the paper, a step, CPU",
        f"{found['mib'] / 1024:.2f} GiB measured for one image of {SIZE // 2} px in "
        f"{found['seconds']:.0f} s, {found['counted'] / 1024:.2f} counted without numbers",
        "a count that is right within a fifth",
        abs(found["mib"] / found["counted"] - 1) < 0.2,
    )
    config, gpus = PRESETS["paper"], 4
    place = Place(gpus, "bf16")
    cost = training(config, 3, SIZE, 0, place)
    gib = (cost.stays + cost.alive) / 2**30
    yield Result(
        f"U-Net, batch {config.batch}, on each of {gpus} GPUs",
        f"{gib:.1f} GiB modelled, {place.share(config.batch)} images a share, bf16",
        f"under {CARD:.1f} GiB on a GPU",
        gib < CARD,
    )


ROWS: dict[str, Callable[[Path], Rows]] = {
    "g2-masks": host("training g2-masks", "g2-masks", TRAIN, 4, train),
    "g1-masks": host(
        "training g1-masks", "g1-masks", TRAIN, 4, lambda n: train(n) / 2, many=(1000, 9000)
    ),
    "g2-guidance": host("training g2-guidance", "g2-guidance", TRAIN, 4, train, many=(100, 600)),
    "reading": host("reading", "folder", ALL, 4),
    "reading-once": once,
    "source": host("source fold", "source", SOURCE, 8, lambda n: 4 * n, many=(100, 800)),
    "superpixels": host("superpixels", "superpixels", ALL, 4, many=(100, 600), few=4),
    "guidance": host("guidance", "guidance", ALL, 4, many=(100, 600)),
    "annotation": host("datasetGAN annotation", "annotate", 1112, 4, many=(50, 300)),
    "annotation-training": plainly("datasetGAN training", "pixel-classifier", 4),
    "sampling": host("sampling", "sample", SAMPLES, 4, many=(100, 600)),
    "features": host("features", "features", SAMPLES, 4, many=(100, 600)),
    "u-net": host("U-Net", "segmenter", TRAIN, 4, lambda n: train(n) / 2),
    "u-net-true": unet,
    "devices": devices,
    "disk": disk,
    "shares": shares,
    "precision": precisions,
    "checkpoints": checkpoints,
    "report": report,
    "resumed-phantom": resumed("phantom", 96),
    "resumed-superpixels": resumed("superpixels", 160),
    "resumed-sample": resumed("sample", 160),
    "resumed-features": resumed("features", 320),
}


if __name__ == "__main__":
    main()
