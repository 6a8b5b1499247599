"""Run one stage for real on a set made up quickly, and say what it took; see `paper_size.py`.

    python benchmarks/paper_size_stage.py FOLDER STAGE SIZE COUNT [--prepare]

Networks are so narrow that they weigh nothing: on a GPU they are not on the host. What is read,
converted, kept and written is what the paper's networks read, convert, keep and write.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from umbench_baselines import entries
from umbench_baselines.contracts import Budget, Perceptual
from umbench_baselines.datasetgan.part import PixelClassifierPart
from umbench_baselines.guidance import superpixels
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.part import StyleGANPart
from umbench_baselines.translation.part import TranslationPart
from umbench_metrics.extractors import source as extractor_source

from umbench.data.annotated_set import Encoding, SetInfo, content_fingerprint, write_pictures
from umbench.data.rows import write_arrays
from umbench.data.set_info import write_info
from umbench.engine.memory import PeakMemory
from umbench.pipeline import Context, Stage
from umbench.stages import values
from umbench.stages.artifacts import PIXELS, save_table, save_tables

CLASSES = {0: "background", 1: "lung", 2: "lesion"}
TRAIN, HELD_OUT = 0.8, 0.1
"""Shares of the images that are train, and that are validation; half of train is labelled."""
SMALLEST = Budget(scale=1e-6)
"""One step, or as few as a training can have."""
MADE_UP = values.Phantom(subjects=1, size=1, seed=0, montages=1)
"""Stands for the set that `make_data` makes."""


def jobs(folder: Path, size: int, count: int) -> dict[str, Stage]:
    """All stages that are measured, by name, after the made-up data and split."""
    split = values.Split(MADE_UP, None, None, 0)
    real = values.Real(MADE_UP, split)
    png = folder / "png"
    cells = values.Superpixels(MADE_UP, "slic", 512, 10.0, superpixels.source("slic"))
    guidance = values.Guidance(MADE_UP, cells, 50)
    segmenter = values.Segment(real, SMALLEST, 0, "no")

    def train(part: Any, budget: Budget = SMALLEST, **takes: Any) -> values.Train:
        seen = guidance if part.guidance else None
        said = {"needs": (), "segmenter": None, **takes}
        return values.Train(part, real, seen, budget=budget, seed=0, precision="no", **said)

    def sample(name: str, *networks: values.Train) -> values.Sample:
        generator = entries.get(name)
        return values.Sample(
            name, entries.source(name), "drawn", generator.Options(), networks, real, None, count, 0
        )

    untrained = replace(SMALLEST, untrained=True)
    g1_images = train(StyleGANPart("images", max_size=size), untrained)
    g1_guidance = train(StyleGANPart("guidance"), untrained)
    g2_guidance = train(TranslationPart("guidance", perceptual=Perceptual()))
    classifier = train(
        PixelClassifierPart(StyleGANPart("images", max_size=size), annotated=16),
        needs=(g1_images,), segmenter=segmenter,
    )  # fmt: skip
    told_apart = (
        *(values.ImageSource(name, (MADE_UP,)) for name in "ab"), values.ImageSource("degraded", ())
    )  # fmt: skip
    return {
        "data": MADE_UP,
        "split": split,
        "folder": values.Folder(content_fingerprint(png) if png.exists() else "", str(png)),
        "phantom": values.Phantom(subjects=count, size=size, seed=0, montages=1),
        "superpixels": cells,
        "guidance": guidance,
        "g2-masks": train(TranslationPart("masks")),
        "g2-guidance": g2_guidance,
        "g1-masks": train(StyleGANPart("masks", max_size=size)),
        "g1-guidance": g1_guidance,
        "g1-images": g1_images,
        "segmenter": segmenter,
        "pixel-classifier": classifier,
        "sample": sample("v2um2i", g1_guidance, g2_guidance),
        "annotate": sample("datasetgan", g1_images, classifier),
        "source": values.TaskNetwork("source", real, SMALLEST, 0, "no", told_apart, fold=0),
        "features": values.Extract(
            "efficientnet-lite0", None, extractor_source("efficientnet-lite0"), MADE_UP, (),
            (min(size, 128),), None, None, who="drawn",
        ),
    }  # fmt: skip


GIVEN = ("data", "split")


def needs_of(everything: dict[str, Stage], name: str) -> list[str]:
    """Names of the stages that one takes in, but those that are made up."""
    names = {stage: known for known, stage in everything.items()}
    found = [names[stage] for stage in everything[name].inputs.values()]
    return [need for need in dict.fromkeys(found) if need not in GIVEN]


def narrow() -> None:
    """Make the preset `quick` of every network so narrow that it weighs nothing."""
    from umbench_baselines import segmenter
    from umbench_baselines.datasetgan import config as datasetgan
    from umbench_baselines.stylegan import part as stylegan
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
    datasetgan.PRESETS["quick"] = datasetgan.PixelClassifierConfig(
        ensemble=2, hidden=(2, 2), steps=2, batch_pixels=64
    )
    stylegan.preset = thin


def thin(
    name: str, *, size: int, channels: int, count: int, target: str = "images",
    untrained: bool = False, scale: float = 1.0, max_size: int | None = None,
) -> StyleGANConfig:  # fmt: skip
    """A StyleGAN of any preset: one batch of four in every stage."""
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


def run(folder: Path, name: str, everything: dict[str, Stage]) -> None:
    """The stage itself, as an engine would call it; its inputs lie beside it."""
    stage = everything[name]
    output, scratch = folder / name, folder / f"{name}.scratch"
    output.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    folders = {made: folder / known for known, made in everything.items()}
    importlib.import_module(stage.RUN).run(Context(stage, folders, output, scratch))


def prepare(folder: Path, name: str, size: int, count: int) -> None:
    """Make all that a stage needs and that is not there yet."""
    if not (folder / "data.there").exists():
        make_data(folder, size, count)
        (folder / "data.there").touch()
    everything = jobs(folder, size, count)
    for need in needs_of(everything, name):
        if not (folder / f"{need}.there").exists():
            prepare(folder, need, size, count)
            run(folder, need, everything)
            (folder / f"{need}.there").touch()


def measure(folder: Path, name: str, size: int, count: int) -> dict[str, float]:
    """Run a stage that is prepared: its peak of private memory in MiB, and seconds."""
    everything = jobs(folder, size, count)
    importlib.import_module(everything[name].RUN)
    started = time.monotonic()
    with PeakMemory() as peak:
        run(folder, name, everything)
    return {"mib": peak.largest, "seconds": time.monotonic() - started}


def decoded(folder: Path, size: int, count: int) -> dict[str, int]:
    """How many pictures each stage decodes, whatever it is that opens them."""
    from PIL import ImageFile

    shutil.rmtree(folder)
    names = [name for name in jobs(folder, size, count) if name not in GIVEN]
    found: dict[str, int] = {}
    seen: list[Any] = []
    for name in names:
        prepare(folder, name, size, count)
    everything = jobs(folder, size, count)
    load = ImageFile.ImageFile.load

    def counted(picture: Any) -> Any:
        if picture.tile:  # what is still to be decoded
            seen.append(picture)
        return load(picture)

    ImageFile.ImageFile.load = counted  # type: ignore[method-assign]
    for name in names:
        seen.clear()
        run(folder, name, everything)
        found[name] = len(seen)
    return found


def true_step(size: int) -> dict[str, float]:
    """A step of the paper's U-Net on one image on the CPU: MiB measured, and counted."""
    import torch
    from umbench_baselines.pretend import shapes_alone, update, work
    from umbench_baselines.segmenter import PRESETS, build_segmenter

    from umbench.engine.memory import private_mib

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
