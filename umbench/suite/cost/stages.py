"""What each stage of a plan takes: operations, memory of host and device, disk.

Every number follows from shapes, types and the networks themselves (`networks`). What cannot be
counted is measured, and stands here as a constant with what it was measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umbench.pipeline import Plan, Stage
from umbench.suite.cost import networks
from umbench.suite.cost.networks import Place, Training
from umbench.suite.schema import Suite

GIB = 2**30
INTERPRETER = 0.4 * GIB
"""Private memory of a process that has imported torch, pandas and a stage, on a CPU."""
CONTEXT = 0.6 * GIB
"""What CUDA itself and cuDNN's working space take of a device (assumed)."""
FRAGMENTS = 1.1
"""What the allocator holds over what is alive (assumed)."""
FLOATS = 3
"""Copies of a batch on the host while it is read: as stored, as floats, and on its way."""
PNG = 0.6
"""Bytes per pixel of a grey picture of a chest as PNG (phantom, 1024 px), its mask included."""
TRANSLATED_AT_ONCE = 8
FEATURES_CHUNK, FEATURES_BATCH = 64, 16
SLIC, PHANTOM = 96, 260
"""Bytes per pixel of one image that superpixels or a drawing take while they are made."""


@dataclass(frozen=True)
class StageCost:
    """peta: operations in units of 1e15 (PFLOP). host: GiB of one process, beside maps of files.
    device: GiB on each GPU. disk: GiB of the result; scratch: GiB that are there until it is done.
    """

    id: str
    kind: str
    peta: float
    host: float
    device: float
    disk: float
    scratch: float


@dataclass(frozen=True)
class Found:
    """What costs depend on beside a stage's parameters.

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


@dataclass(frozen=True)
class Bytes:
    """Costs in bytes, before they are told."""

    operations: float = 0.0
    host: float = 0.0
    device: float = 0.0
    disk: float = 0.0
    scratch: float = 0.0


def stage_costs(suite: Suite, plan: Plan, gpus: int) -> list[StageCost]:
    """The cost of every stage of `plan`, on so many GPUs (0: on the CPU)."""
    found = look(suite, Place(gpus, suite.training.precision))
    stages = {stage.id: stage for stage in plan.stages}
    out = []
    for stage in plan.stages:
        cost = KINDS[stage.kind](stage, stages, found)
        out.append(
            StageCost(
                stage.id,
                stage.kind,
                cost.operations / 1e15,
                (INTERPRETER + cost.host) / GIB,
                (CONTEXT + FRAGMENTS * cost.device) / GIB if cost.device else 0.0,
                cost.disk / GIB,
                cost.scratch / GIB,
            )
        )
    return out


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


def _data(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """A phantom is drawn, or a folder read, a chunk at a time."""
    work = PHANTOM * found.pixels if stage.kind == "phantom" else found.pixels * (4 + found.depth)
    kept = found.rows["all"] * found.pixels * (found.depth + 1)
    return Bytes(host=_chunk(found, found.depth + 1) + work, disk=kept)


def _nothing(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    return Bytes()


def _chunk(found: Found, depth: int) -> int:
    """Bytes of a chunk of rows as stages cut it."""
    from umbench.data.rows import CHUNK_ROWS, chunk_rows

    row = found.pixels * depth
    return chunk_rows(row, CHUNK_ROWS) * row


def _superpixels(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """As many images at once as there are threads, and a chunk of labels."""
    import os

    work = (os.cpu_count() or 1) * SLIC * found.pixels
    return Bytes(host=work + 2 * _chunk(found, 2), disk=found.rows["all"] * found.pixels * 2)


def _guidance(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    work = 24 * found.pixels
    return Bytes(host=2 * _chunk(found, 1) + work, disk=found.rows["all"] * found.pixels)


def _train(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """One part of an entry."""
    from umbench_baselines.entries import PARTS

    part = PARTS[stage.params["part"]]
    kind = {"stylegan": _stylegan, "translation": _translation}.get(part.kind, _pixel_classifier)
    return kind(stage, stages, found)


def _seen(stage: Stage, found: Found) -> int:
    """Images that a part is trained on."""
    from umbench_baselines.entries import PARTS

    supervised = stage.params["options"].get("supervision") == "supervised"
    alone = supervised or PARTS[stage.params["part"]].target == "masks"
    return found.rows["labelled" if alone else "train"]


def _options(stage: Stage) -> dict[str, Any]:
    return {k: v for k, v in stage.params["options"].items() if k != "supervision"}


def stylegan_config(stage: Stage, found: Found) -> Any:
    """As `umbench_baselines.parts` makes it for this stage."""
    from umbench_baselines.entries import PARTS
    from umbench_baselines.parts import scaled
    from umbench_baselines.stylegan import preset

    target, params = PARTS[stage.params["part"]].target, stage.params
    config = preset(
        params["preset"],
        size=found.size,
        channels=found.classes if target == "masks" else 1,
        count=_seen(stage, found),
        target=target,
        untrained=params["untrained"],
        **_options(stage),
    )
    return scaled(config, params["scale"])


def _stylegan(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Beside its batches it holds a reduced copy of the images, 16 bits a value, while the
    stage's side is not theirs; and what is read of them while the copy is made, as floats.
    """
    from umbench_baselines.stylegan.source import CHUNK_VALUES

    config, count = stylegan_config(stage, found), _seen(stage, found)
    # what does not change the cost is left out, so that equal ones are worked out once
    cost = networks.stylegan(replace(config, augment=(), decay=0.0), found.place)
    sides = [side for side in config.resolutions if side < found.size] if cost.operations else []
    copy = max((count * config.channels * side**2 * 2 for side in sides), default=0)
    values = max(CHUNK_VALUES, config.channels * found.pixels)
    # class numbers of 8 bytes and one-hot values of as many beside the floats, where masks are
    made = values * (4 * FLOATS + (16 if config.channels > 1 else 0)) if copy else 0
    batch = found.place.share(max(config.stage_batches[-1:], default=1))
    read = FLOATS * 4 * batch * config.channels * found.pixels
    return _training(cost, found, copy + max(made, read) if cost.operations else 0)


def translation_config(stage: Stage, found: Found) -> Any:
    """As `umbench_baselines.parts` makes it for this stage."""
    from umbench_baselines.entries import PARTS
    from umbench_baselines.translation import preset

    params = stage.params
    options = {"heads": "image" if PARTS[params["part"]].target == "masks" else "both"}
    if params.get("perceptual"):
        named = params["perceptual"]
        options |= {"perceptual": named["name"], "perceptual_sha256": named["sha256"]}
    return preset(
        params["preset"],
        size=found.size,
        count=_seen(stage, found),
        untrained=params["untrained"],
        scale=params["scale"],
        **(options | _options(stage)),
    )


def _translation(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Its batches are read when they are drawn; pseudo-segmentations lie in a file."""
    from umbench_baselines.entries import PARTS

    masks = PARTS[stage.params["part"]].target == "masks"
    config, seen = translation_config(stage, found), _seen(stage, found)
    channels = found.classes if masks else 1
    unlabelled = seen - found.rows["labelled"] if config.heads != "image" else 0
    cost = networks.translation(
        config, channels, found.classes, found.size, seen, max(0, unlabelled), found.place
    )
    # statistics are measured anew on whole batches
    values = config.batch * found.pixels * (channels + 1)
    read = values * 4 * FLOATS + (config.batch * found.pixels * found.classes * 8 if masks else 0)
    bytes_ = _training(cost, found, read if config.steps else 0)
    return replace(bytes_, scratch=bytes_.scratch + max(0, unlabelled) * found.pixels)


def _training(cost: Training, found: Found, host: float) -> Bytes:
    """On GPUs the networks are there, and a copy of the result passes through the host."""
    on_host = host + cost.model
    if not found.place.gpus:
        on_host += cost.stays + cost.alive
    return Bytes(
        operations=cost.operations,
        host=on_host,
        device=cost.stays + cost.alive if found.place.gpus else 0,
        disk=cost.model,
        scratch=2 * cost.checkpoint if cost.operations else 0,
    )


def _pixel_classifier(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    from umbench_baselines.datasetgan import preset
    from umbench_baselines.datasetgan.train import CHUNK

    params = stage.params
    config = preset(params["preset"], untrained=params["untrained"], **_options(stage))
    gan = stylegan_config(stages[stage.inputs["g1-images"]], found)
    annotator = segmenter_config(stages[stage.inputs["segmenter"]])
    cost = networks.pixel_classifier(config, gan, annotator, found.classes, found.place)
    read = CHUNK * found.pixels * (4 * FLOATS + 8) + config.annotated * gan.native**2
    return _training(cost, found, read)


def segmenter_config(stage: Stage) -> Any:
    """As the stage `segment` makes it."""
    from umbench_baselines.segmenter import preset

    return preset(stage.params["preset"], stage.params["scale"])


def _segment(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    config = segmenter_config(stage)
    cost = networks.segmenter(config, found.classes, found.size, found.rows["test"], found.place)
    rows = max(found.place.share(config.batch), networks.TESTED_AT_ONCE)
    return _training(cost, found, rows * found.pixels * (4 + 8) * FLOATS)


def _sample(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Images with masks and conditions, drawn in chunks in single precision on each device."""
    from umbench_baselines.entries import PARTS, get

    entry, params = get(stage.params["entry"]), stage.params
    parts = {role: stages[id] for role, id in stage.inputs.items() if role in PARTS}
    count, drawn = params["count"], params["count"]
    operations, stays, alive = 0.0, 0, 0
    for part in parts.values():
        kind = PARTS[part.params["part"]].kind
        if kind == "stylegan":
            config = stylegan_config(part, found)
            one, _, _ = networks.drawing(_without_schedule(config))
            operations += one.operations * count
            alive = max(alive, one.alive)
            stays += networks.stylegan(_without_schedule(config), found.place).model
        elif kind == "translation":
            translation = translation_config(part, found)
            channels = found.classes if entry.conditions == "masks" or "g2-masks" in parts else 1
            some, weights = networks.translating(
                translation, channels, found.classes, found.size, TRANSLATED_AT_ONCE
            )
            operations += some.operations / TRANSLATED_AT_ONCE * count
            alive, stays = max(alive, some.alive), stays + weights
        else:
            from umbench_baselines.datasetgan import drawn as drawn_for
            from umbench_baselines.datasetgan import preset
            from umbench_baselines.datasetgan.annotate import STRIP_VALUES

            options = preset(part.params["preset"], **_options(part))
            drawn = drawn_for(count, options)
            operations *= drawn / count
            alive += 4 * STRIP_VALUES * 4
    depth = found.depth + 1 + ("g2-guidance" in parts)
    rows = max(1, _chunk(found, depth) // (found.pixels * depth))
    # floats of image and condition, class numbers of 8 bytes, probabilities or one-hot classes
    made = rows * found.pixels * (4 + 4 + 8 + 4 * found.classes + depth)
    pictures = count * found.pixels * PNG
    return Bytes(
        operations=operations,
        host=made + stays + (alive if not found.place.gpus else 0),
        device=stays + alive if found.place.gpus else 0,
        disk=count * found.pixels * depth + pictures,
        scratch=drawn * found.pixels * depth,
    )


def _without_schedule(config: Any) -> Any:
    """The same networks without a schedule: nothing is trained."""
    return replace(config, stage_images=(), stage_batches=(), augment=(), decay=0.0)


def _control(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    split = "validation" if stage.params["control"] == "real" else "test"
    count = min(stage.params["count"], found.rows[split])
    depth = found.depth + 1
    work = 2 * _chunk(found, depth) * (1 + 4 * FLOATS / depth)
    return Bytes(host=work, disk=count * found.pixels * depth)


def task_config(stage: Stage) -> Any:
    """As the stage `extractor` makes it."""
    from umbench_metrics.extractors.task import preset

    return preset(stage.params["preset"], seed=stage.params["seed"], scale=stage.params["scale"])


def _extractor(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Batches of images that are read, or damaged, when they are drawn."""
    config = replace(task_config(stage), seed=0)
    judged = found.rows["validation"]
    if stage.params["task"] == "source":
        sampled = [stages[i] for role, i in stage.inputs.items() if role.startswith("samples ")]
        judged += sum(sample.params["count"] // 2 for sample in sampled)
    cost = networks.task_network(config, found.size, judged, found.place)
    rows = max(found.place.share(config.batch), FEATURES_BATCH)
    return _training(cost, found, rows * found.pixels * 4 * (FLOATS + 1))


def _features(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Chunks of images as floats; batches of them at every resolution on the device."""
    params = stage.params
    trained = [stages[id] for role, id in stage.inputs.items() if role.startswith("network")]
    source = stages[stage.inputs["images"]]
    total = found.rows["test"] if params["reference"] else _images_of(source, found)
    count = total if params["count"] is None else min(total, params["count"])
    task = replace(task_config(trained[0]), seed=0, steps=1) if trained else None
    batch = max(1, min(FEATURES_BATCH, count))
    operations, alive, weights, dim = 0.0, 0, 0, 0
    for resolution in params["resolutions"]:
        some, weights, dim = networks.extracting(
            "task" if trained else params["extractor"],
            params.get("input"),
            task,
            found.size,
            resolution,
            batch,
        )
        operations += some.operations / batch * count
        alive = max(alive, some.alive)
    folds = len(trained) if params["reference"] and trained else 1
    read = min(FEATURES_CHUNK, count) * found.pixels * 4 * FLOATS
    stays = weights * max(1, len(trained))
    made = folds * count * dim * 4 * len(params["resolutions"])
    return Bytes(
        operations=operations * folds,
        host=read + stays + (alive if not found.place.gpus else 0),
        device=stays + alive if found.place.gpus else 0,
        disk=made,
        scratch=made,
    )


def _images_of(stage: Stage, found: Found) -> int:
    """Images of the set that a stage makes."""
    if stage.kind == "control":
        split = "validation" if stage.params["control"] == "real" else "test"
        return min(stage.params["count"], found.rows[split])
    return int(stage.params["count"]) if stage.kind == "sample" else found.rows["all"]


def _scores(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """Features are mapped; those of one observation and their inner products are held."""
    widest = 2048
    rows = found.rows["test"] + max(_images_of(s, found) for s in stages.values() if s.kind in MADE)
    return Bytes(host=8 * (3 * rows * widest + 3 * rows**2))


MADE = ("sample", "control", "phantom", "folder")


def _board(stage: Stage, stages: Mapping[str, Stage], found: Found) -> Bytes:
    """A grid of six pictures, in colour and as floats, of one method at a time."""
    return Bytes(host=6 * found.pixels * (4 + 3 * 4), disk=1e6 * 10)


KINDS: dict[str, Callable[[Stage, Mapping[str, Stage], Found], Bytes]] = {
    "phantom": _data,
    "folder": _data,
    "split": _nothing,
    "superpixels": _superpixels,
    "guidance": _guidance,
    "train": _train,
    "segment": _segment,
    "sample": _sample,
    "control": _control,
    "extractor": _extractor,
    "features": _features,
    "scores": _scores,
    "compare": _scores,
    "board": _board,
}
