"""Run one stage for real on a set made up quickly, and say what it took; see `paper_size.py`.

    python benchmarks/paper_size_stage.py FOLDER STAGE SIZE COUNT [--prepare]

Networks are so narrow that they weigh nothing: on a GPU they are not on the host. What is read,
converted, kept and written is what the paper's networks read, convert, keep and write.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from umbench.data.annotated_set import Encoding, SetInfo, content_fingerprint, write_pictures
from umbench.data.rows import write_arrays
from umbench.data.set_info import write_info
from umbench.engine.memory import PeakMemory
from umbench.pipeline import Context, Stage
from umbench.stages import KINDS
from umbench.stages.artifacts import PIXELS, save_table, save_tables

if TYPE_CHECKING:
    from umbench_baselines.stylegan import StyleGANConfig

CLASSES = {0: "background", 1: "lung", 2: "lesion"}
TRAIN, HELD_OUT = 0.8, 0.1
"""Shares of the images that are train, and that are validation; half of train is labelled."""
SMALLEST = 1e-6
"""Of a preset's steps: one, or as few as a training can have."""


@dataclass(frozen=True)
class Job:
    """A stage: its kind, parameters, and the jobs (or made-up data) that its inputs are."""

    kind: str
    params: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)


def _training(
    part: str, *, untrained: bool = False, needs: tuple[str, ...] = (), **options: Any
) -> Job:
    inputs = {"data": "data", "split": "split"} | {need: need for need in needs}
    if "guidance" in part:
        inputs["guidance"] = "guidance"
    params = {
        "part": part, "preset": "quick", "scale": SMALLEST, "precision": "no", "seed": 0,
        "untrained": untrained, "t": 50, "options": options, "perceptual": None,
    }  # fmt: skip
    return Job("train", params, inputs)


def jobs(size: int, count: int) -> dict[str, Job]:
    """All stages that are measured, by name."""
    few = {"preset": "quick", "scale": SMALLEST, "precision": "no", "seed": 0}
    both = {"data": "data", "split": "split"}
    drawn = {"name": "drawn", "count": count, "seed": 0, "psi": 0.7, "options": {}}
    features = {"resolutions": [min(size, 128)], "count": None, "reference": False, "split": None}
    return {
        "folder": Job("folder"),
        "phantom": Job("phantom", {"subjects": count, "size": size, "seed": 0, "montages": 1}),
        "superpixels": Job(
            "superpixels",
            {"algorithm": "slic", "count": 512, "compactness": 10.0},
            {"data": "data"},
        ),
        "guidance": Job("guidance", {"t": 50}, {"data": "data", "superpixels": "superpixels"}),
        "g2-masks": _training("g2-masks", perceptual="none"),
        "g2-guidance": _training("g2-guidance", perceptual="none"),
        "g1-masks": _training("g1-masks", max_size=size),
        "g1-guidance": _training("g1-guidance", untrained=True),
        "g1-images": _training("g1-images", untrained=True, max_size=size),
        "segmenter": Job("segment", {**few, "pairs": None, "count": None}, both),
        "pixel-classifier": _training(
            "pixel-classifier", needs=("g1-images", "segmenter"), annotated=16
        ),
        "sample": Job(
            "sample", {**drawn, "entry": "v2um2i", "t": 50},
            both | {"g1-guidance": "g1-guidance", "g2-guidance": "g2-guidance"},
        ),
        "annotate": Job(
            "sample", {**drawn, "entry": "datasetgan", "t": 0},
            both | {"g1-images": "g1-images", "pixel-classifier": "pixel-classifier"},
        ),
        "source": Job(
            "extractor", {**few, "task": "source", "sources": ["a", "b", "degraded"], "fold": 0},
            both | {"samples a|": "data", "samples b|": "data"},
        ),
        "features": Job(
            "features", {**features, "extractor": "efficientnet-lite0", "input": None},
            {"images": "data", "split": "split"},
        ),
    }  # fmt: skip


def narrow() -> None:
    """Make the preset `quick` of every network so narrow that it weighs nothing."""
    from umbench_baselines import segmenter, stylegan
    from umbench_baselines.datasetgan import PRESETS, PixelClassifierConfig
    from umbench_baselines.translation import presets as translation
    from umbench_metrics.extractors import task

    translation.PRESETS["quick"] = replace(
        translation.PRESETS["quick"], width=2, cap=8, disc_width=2, batch=4
    )
    segmenter.PRESETS["quick"] = replace(
        segmenter.PRESETS["quick"], features=(2, 2, 2, 2, 2, 2), batch=4
    )
    task.PRESETS["quick"] = partial(
        task.TaskConfig, backbone="compact", width=2, steps=1, batch=4, lr=1e-3
    )
    PRESETS["quick"] = PixelClassifierConfig(
        ensemble=2, hidden=(2, 2), steps=2, batch_pixels=64, psi=1.0
    )
    stylegan.preset = thin  # type: ignore[assignment]


def thin(
    name: str, *, size: int, channels: int, count: int, target: str = "images",
    untrained: bool = False, max_size: int | None = None,
) -> StyleGANConfig:  # fmt: skip
    """A StyleGAN of any preset: one batch of four in every stage."""
    from umbench_baselines.stylegan import StyleGANConfig

    stages = len(StyleGANConfig(size, channels, max_size=max_size or 64).resolutions)
    every = () if untrained else (4,) * stages
    return StyleGANConfig(
        size, channels, stage_images=every, stage_batches=every, max_size=max_size or 64,
        latent=16, mapping_layers=2, fmap_base=16, fmap_max=4,
    )  # fmt: skip


def pixels(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random pictures and masks (count, size, size) uint8, made in a moment."""
    from PIL import Image

    random = np.random.default_rng(0)
    images = np.empty((count, size, size), np.uint8)
    masks = np.empty((count, size, size), np.uint8)
    y, x = np.mgrid[:size, :size] / size - 0.5
    inside = (x**2 + y**2) < 0.16
    for row in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (16, 16), dtype=np.uint8))
        images[row] = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
        masks[row] = inside + (inside & (images[row] > 190))
    return images, masks


def make_data(folder: Path, size: int, count: int) -> None:
    """A set as the store keeps it, the same as pictures in a folder, and its split."""
    images, masks = pixels(size, count)
    names = [f"{row:05d}.png" for row in range(count)]
    ends = (round(count * TRAIN), round(count * (TRAIN + HELD_OUT)))
    split = np.array(["train"] * ends[0] + ["validation"] * (ends[1] - ends[0]) + ["test"] * count)
    table = pd.DataFrame(
        {
            "file_name": [f"images/{name}" for name in names],
            "mask_file_name": [f"masks/{name}" for name in names],
            "subject": [f"P{row:05d}" for row in range(count)],
            "split": split[:count],
            "sex": ["F", "M"] * (count // 2) + ["F"] * (count % 2),
            "age": np.arange(count) % 60 + 30.0,
        }
    )
    info = SetInfo("made up", Encoding(), CLASSES, layout=None)
    (folder / "data").mkdir(parents=True)
    write_arrays(folder / "data" / PIXELS, {"images": images, "masks": masks})
    save_tables(folder / "data", info, table)
    (folder / "png").mkdir()
    write_pictures(folder / "png", table, images, masks, np.arange(count))
    write_info(folder / "png" / "set.json", info)
    table.to_csv(folder / "png" / "metadata.csv", index=False)
    (folder / "split").mkdir()
    labelled = (np.arange(count) < ends[0]) & (np.arange(count) % 2 == 0)
    save_table(
        folder / "split" / "split.csv",
        pd.DataFrame(
            {
                "row": np.arange(count), "subject": table["subject"], "split": table["split"],
                "labelled": labelled.astype(int),
            }
        ),
    )  # fmt: skip


def context_of(folder: Path, name: str, job: Job) -> Context:
    """What the stage gets; its inputs lie beside it."""
    output, scratch = folder / name, folder / f"{name}.scratch"
    output.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    params, local = dict(job.params), {}
    if job.kind == "folder":
        local = {"path": str(folder / "png")}
        params = {"fingerprint": content_fingerprint(folder / "png")}
    stage = Stage(name, job.kind, params, job.inputs, local)
    inputs = {role: folder / source for role, source in job.inputs.items()}
    return Context(stage, inputs, output, scratch, lambda done, total, text: None)


def run(folder: Path, name: str, job: Job) -> None:
    """The stage itself, as an engine would call it."""
    import importlib

    importlib.import_module(KINDS[job.kind].module).run(context_of(folder, name, job))


def prepare(folder: Path, name: str, size: int, count: int) -> None:
    """Make all that a stage needs and that is not there yet."""
    if not (folder / "data.there").exists():
        make_data(folder, size, count)
        (folder / "data.there").touch()
    everything = jobs(size, count)
    for need in everything[name].inputs.values():
        if need in everything and not (folder / f"{need}.there").exists():
            prepare(folder, need, size, count)
            run(folder, need, everything[need])
            (folder / f"{need}.there").touch()


def measure(folder: Path, name: str, size: int, count: int) -> dict[str, float]:
    """Run a stage that is prepared: its peak of private memory in MiB, and seconds."""
    import importlib

    job = jobs(size, count)[name]
    importlib.import_module(KINDS[job.kind].module)
    started = time.monotonic()
    with PeakMemory() as peak:
        run(folder, name, job)
    return {"mib": peak.largest, "seconds": time.monotonic() - started}


def decoded(folder: Path, size: int, count: int) -> dict[str, int]:
    """How many pictures each stage decodes, whatever it is that opens them."""
    from PIL import ImageFile

    shutil.rmtree(folder)
    everything = jobs(size, count)
    found: dict[str, int] = {}
    seen: list[Any] = []
    for name in everything:
        prepare(folder, name, size, count)
    load = ImageFile.ImageFile.load

    def counted(picture: Any) -> Any:
        if picture.tile:  # what is still to be decoded
            seen.append(picture)
        return load(picture)

    ImageFile.ImageFile.load = counted  # type: ignore[method-assign]
    for name, job in everything.items():
        seen.clear()
        run(folder, name, job)
        found[name] = len(seen)
    return found


def true_step(size: int) -> dict[str, float]:
    """A step of the paper's U-Net on one image on the CPU: MiB measured, and counted."""
    import torch
    from umbench_baselines.segmenter import PRESETS, build_segmenter

    from umbench.engine.memory import private_mib
    from umbench.suite.cost.pretend import shapes_alone, update, work

    def step() -> None:
        logits = model(torch.zeros(1, 1, size, size))
        truth = torch.zeros(1, size, size, dtype=torch.int64)
        update(torch.nn.functional.cross_entropy(logits, truth), model, 0)

    with shapes_alone():
        model = build_segmenter(len(CLASSES), PRESETS["paper"]).train()
        counted = work(step).alive / 2**20
    model = build_segmenter(len(CLASSES), PRESETS["paper"]).train()
    before, started = private_mib(os.getpid()), time.monotonic()
    with PeakMemory() as peak:
        step()
    seconds = time.monotonic() - started
    return {"mib": peak.largest - before, "counted": counted, "seconds": seconds}


def main() -> None:
    """Prepare or measure; the last line of the output is JSON."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("stage")
    parser.add_argument("size", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--anew", action="store_true", help="without what a run before left")
    parser.add_argument("--decoded", action="store_true", help="pictures that stages decode")
    parser.add_argument("--true", action="store_true", help="a step of the paper's own U-Net")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.true:
        print(json.dumps(true_step(options.size)))
        return
    narrow()
    if options.decoded:
        print(json.dumps(decoded(options.folder, options.size, options.count)))
        return
    arguments = (options.folder, options.stage, options.size, options.count)
    if options.prepare:
        prepare(*arguments)
        return
    if options.anew:
        for left in (options.stage, f"{options.stage}.scratch"):
            shutil.rmtree(options.folder / left, ignore_errors=True)
    print(json.dumps(measure(*arguments)))


if __name__ == "__main__":
    main()
