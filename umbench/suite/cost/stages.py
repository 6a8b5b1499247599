"""What each stage of a plan takes: operations, memory of host and device, disk.

Every number follows from shapes, types and the networks themselves, of which parts and `networks`
tell. What cannot be counted is measured, and stands here as a constant with what it was measured
on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umbench_baselines import costs, entries, segmenter_cost
from umbench_baselines.contracts import Budget
from umbench_baselines.costs import FLOATS, Place, Setting, Training

from umbench.pipeline import Plan, Stage
from umbench.stages import values
from umbench.suite.cost import networks
from umbench.suite.schema import Suite

GIB = 2**30
INTERPRETER = 0.4 * GIB
"""Private memory of a process that has imported torch, pandas and a stage, on a CPU."""
CONTEXT = 0.6 * GIB
"""What CUDA itself and cuDNN's working space take of a device (assumed)."""
FRAGMENTS = 1.1
"""What the allocator holds over what is alive (assumed)."""
PNG = 0.6
"""Bytes per pixel of a grey picture of a chest as PNG (phantom, 1024 px), its mask included."""
FEATURES_CHUNK, FEATURES_BATCH = 64, 16
SLIC, PHANTOM = 96, 260
"""Bytes per pixel of one image that superpixels or a drawing take while they are made."""
WIDEST = 2048
"""Numbers per image of the widest extractor."""


@dataclass(frozen=True)
class StageCost:
    """id: what people call the stage; stage: its class. peta: operations in units of 1e15 (PFLOP).
    host: GiB of one process, beside maps of files. device: GiB on each GPU. disk: GiB of the
    result; scratch: GiB that are there until it is done. known: false where a third party's
    network does not tell what it takes.
    """

    id: str
    stage: str
    peta: float
    host: float
    device: float
    disk: float
    scratch: float
    known: bool = True


@dataclass(frozen=True)
class Found:
    """What costs depend on beside a stage.

    rows: images per split ("train", "labelled", "validation", "test"; "all"). depth: bytes per
    pixel of an image. classes: of the masks.
    """

    size: int
    rows: Mapping[str, int]
    depth: int
    classes: int
    place: Place

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.size**2

    def setting(self, budget: Budget) -> Setting:
        """As parts are told of it."""
        rows = self.rows["train"], self.rows["labelled"]
        return Setting(self.size, self.classes, *rows, budget, self.place)


@dataclass(frozen=True)
class Bytes:
    """Costs in bytes, before they are told."""

    operations: float = 0.0
    host: float = 0.0
    device: float = 0.0
    disk: float = 0.0
    scratch: float = 0.0
    known: bool = True


UNKNOWN = Bytes(known=False)


def stage_costs(suite: Suite, plan: Plan, gpus: int) -> list[StageCost]:
    """The cost of every stage of `plan`, on so many GPUs (0: on the CPU)."""
    found = look(suite, Place(gpus, suite.training.precision))
    return [cost_of(stage, label, found) for stage, label in plan.labels.items()]


def cost_of(stage: Stage, label: str, found: Found) -> StageCost:
    """The cost of one stage."""
    cost = KINDS[type(stage)](stage, found)
    return StageCost(
        label,
        type(stage).__name__,
        cost.operations / 1e15,
        (INTERPRETER + cost.host) / GIB,
        (CONTEXT + FRAGMENTS * cost.device) / GIB if cost.device else 0.0,
        cost.disk / GIB,
        cost.scratch / GIB,
        cost.known,
    )


def look(suite: Suite, place: Place) -> Found:
    """Counts and sizes of a suite's set, of which no picture is read."""
    from umbench.suite.preflight import check, outline

    found = outline(suite)
    split = check(suite, found)
    rows = {name: int((split == name).sum()) for name in ("train", "validation", "test")}
    rows |= {"labelled": min(rows["train"], suite.labelled or rows["train"]), "all": len(split)}
    if suite.data.phantom is not None:
        from umbench.data.phantom.phantom_set import CLASSES

        classes, bits = len(CLASSES), 8
    else:
        from umbench.data.annotated_set import read_tables

        info, _ = read_tables(Path(suite.data.folder or ""))
        classes, bits = len(info.classes), info.encoding.bits
    return Found(found.size[0], rows, bits // 8, classes, place)


def _phantom(stage: values.Phantom, found: Found) -> Bytes:
    """Drawn a chunk at a time."""
    return _set(PHANTOM * found.pixels, found)


def _folder(stage: values.Folder, found: Found) -> Bytes:
    """Read a chunk at a time."""
    return _set(found.pixels * (4 + found.depth), found)


def _set(work: float, found: Found) -> Bytes:
    kept = found.rows["all"] * found.pixels * (found.depth + 1)
    return Bytes(host=_chunk(found, found.depth + 1) + work, disk=kept)


def _split(stage: values.Split, found: Found) -> Bytes:
    return Bytes()


def _chunk(found: Found, depth: int) -> int:
    """Bytes of a chunk of rows as stages cut it."""
    from umbench.data.rows import CHUNK_ROWS, chunk_rows

    row = found.pixels * depth
    return chunk_rows(row, CHUNK_ROWS) * row


def _superpixels(stage: values.Superpixels, found: Found) -> Bytes:
    """As many images at once as there are threads, and a chunk of labels."""
    work = (os.cpu_count() or 1) * SLIC * found.pixels
    return Bytes(host=work + 2 * _chunk(found, 2), disk=found.rows["all"] * found.pixels * 2)


def _guidance(stage: values.Guidance, found: Found) -> Bytes:
    work = 24 * found.pixels
    return Bytes(host=2 * _chunk(found, 1) + work, disk=found.rows["all"] * found.pixels)


def _train(stage: values.Train, found: Found) -> Bytes:
    """One part of a generator."""
    cost = costs.training(stage.part, found.setting(stage.budget))
    return UNKNOWN if cost is None else _training(cost, found)


def _training(cost: Training, found: Found) -> Bytes:
    """On GPUs the networks are there, and a copy of the result passes through the host."""
    on_host = cost.reads + cost.model
    if not found.place.gpus:
        on_host += cost.stays + cost.alive
    return Bytes(
        operations=cost.operations,
        host=on_host,
        device=cost.stays + cost.alive if found.place.gpus else 0,
        disk=cost.model,
        scratch=cost.files + (2 * cost.checkpoint if cost.operations else 0),
    )


def _segment(stage: values.Segment, found: Found) -> Bytes:
    from umbench_baselines.segmenter import preset

    config = preset(stage.budget.preset, stage.budget.scale)
    cost = segmenter_cost.training(
        config, found.classes, found.size, found.rows["test"], found.place
    )
    rows = max(found.place.share(config.batch), segmenter_cost.TESTED_AT_ONCE)
    return _training(replace(cost, reads=rows * found.pixels * (4 + 8) * FLOATS), found)


def _sample(stage: values.Sample, found: Found) -> Bytes:
    """Images with masks and conditions, drawn in chunks in single precision on each device."""
    known = [costs.drawing(t.part, found.setting(t.budget)) for t in stage.networks]
    parts = [part for part in known if part is not None]
    if len(parts) < len(known):
        return UNKNOWN
    drawn = math.ceil(stage.count * max((part.drawn for part in parts), default=1) - 1e-9)
    stays = sum(part.stays for part in parts)
    alive = max((part.alive for part in parts), default=0)
    depth = found.depth + 1 + entries.get(stage.generator).guided
    rows = max(1, _chunk(found, depth) // (found.pixels * depth))
    # floats of image and condition, class numbers of 8 bytes, probabilities or one-hot classes
    made = rows * found.pixels * (4 + 4 + 8 + 4 * found.classes + depth)
    pictures = stage.count * found.pixels * PNG
    return Bytes(
        operations=drawn * sum(part.operations for part in parts),
        host=made + stays + (alive if not found.place.gpus else 0),
        device=stays + alive if found.place.gpus else 0,
        disk=stage.count * found.pixels * depth + pictures,
        scratch=drawn * found.pixels * depth,
    )


def _control(stage: values.Control, found: Found) -> Bytes:
    depth = found.depth + 1
    work = 2 * _chunk(found, depth) * (1 + 4 * FLOATS / depth)
    return Bytes(host=work, disk=_images_of(stage, found) * found.pixels * depth)


def _images_of(stage: values.Producer, found: Found) -> int:
    """Images of the set that a stage makes."""
    if isinstance(stage, values.Control):
        split = "validation" if stage.control == "real" else "test"
        return min(stage.count, found.rows[split])
    return stage.count if isinstance(stage, values.Sample) else found.rows["all"]


def _task_config(stage: values.TaskNetwork) -> Any:
    """As the stage makes it, but for the seed: equal ones are counted once."""
    from umbench_metrics.extractors.task import preset

    return preset(stage.budget.preset, seed=0, scale=stage.budget.scale)


def _task_network(stage: values.TaskNetwork, found: Found) -> Bytes:
    """Batches of images that are read, or damaged, when they are drawn."""
    config, judged = _task_config(stage), found.rows["validation"]
    for source in stage.told_apart:
        judged += sum(_images_of(made, found) // values.FOLDS for made in source.sets)
    cost = networks.task_network(config, found.size, judged, found.place)
    rows = max(found.place.share(config.batch), FEATURES_BATCH)
    return _training(replace(cost, reads=rows * found.pixels * 4 * (FLOATS + 1)), found)


def _extract(stage: values.Extract, found: Found) -> Bytes:
    """Chunks of images as floats; batches of them at every resolution on the device."""
    total = found.rows["test"] if stage.reference else _images_of(stage.images, found)
    count = total if stage.count is None else min(total, stage.count)
    task = replace(_task_config(stage.networks[0]), steps=1) if stage.networks else None
    name = "task" if stage.networks else stage.extractor
    batch = max(1, min(FEATURES_BATCH, count))
    operations, alive, weights, dim = 0.0, 0, 0, 0
    for resolution in stage.resolutions:
        some, weights, dim = networks.extracting(
            name, stage.input, task, found.size, resolution, batch
        )
        operations += some.operations / batch * count
        alive = max(alive, some.alive)
    folds = len(stage.networks) if stage.reference and stage.networks else 1
    stays = weights * max(1, len(stage.networks))
    made = folds * count * dim * 4 * len(stage.resolutions)
    read = min(FEATURES_CHUNK, count) * found.pixels * 4 * FLOATS
    return Bytes(
        operations=operations * folds,
        host=read + stays + (alive if not found.place.gpus else 0),
        device=stays + alive if found.place.gpus else 0,
        disk=made,
        scratch=made,
    )


def _score(stage: values.Score, found: Found) -> Bytes:
    """Features are mapped; those of one observation and their inner products are held."""
    synthetic = max((_images_of(seen.synthetic.images, found) for seen in stage.seen), default=0)
    return _observation(found.rows["test"] + synthetic)


def _compare(stage: values.Compare, found: Found) -> Bytes:
    """As scores, of which it reads the features again."""
    return max((_score(score, found) for score in stage.scores), key=_host, default=Bytes())


def _host(cost: Bytes) -> float:
    return cost.host


def _observation(rows: int) -> Bytes:
    return Bytes(host=8 * (3 * rows * WIDEST + 3 * rows**2))


def _board(stage: values.Board, found: Found) -> Bytes:
    """A grid of six pictures, in colour and as floats, of one method at a time."""
    return Bytes(host=6 * found.pixels * (4 + 3 * 4), disk=1e6 * 10)


KINDS: dict[type[Stage], Callable[[Any, Found], Bytes]] = {
    values.Phantom: _phantom,
    values.Folder: _folder,
    values.Split: _split,
    values.Superpixels: _superpixels,
    values.Guidance: _guidance,
    values.Train: _train,
    values.Segment: _segment,
    values.Sample: _sample,
    values.Control: _control,
    values.TaskNetwork: _task_network,
    values.Extract: _extract,
    values.Score: _score,
    values.Compare: _compare,
    values.Utility: _split,
    values.Board: _board,
}
