"""Train one part of an entry; draw annotated images from an entry's trained parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.contracts import AnnotatedBatch, TrainingData
from umbench_baselines.entries import PARTS, Entry
from umbench_baselines.guidance.unsupervised_mask import snap
from umbench_baselines.training import TrainingRun

if TYPE_CHECKING:
    from umbench_baselines.stylegan import StyleGAN, StyleGANConfig

Saved = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""A trained part: its weights, and the facts that `train_part` returned with it."""


@dataclass(frozen=True)
class TrainPart:
    """What to train: a part, a preset (quick, small, paper), options such as `annotated`, and
    what the preset's steps are multiplied by.
    """

    part: str
    preset: str
    untrained: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0


def train_part(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    """Train one part; returns the network and the facts to build it again.

    `needs` holds the results that the part is trained on (`PARTS[job.part].needs`). Parts that
    need labels see labelled rows alone. With `untrained` the network is left at step 0.
    """
    part = PARTS[job.part]
    trainer = {
        "stylegan": _train_stylegan,
        "translation": _train_translation,
        "pixel-classifier": _train_pixel_classifier,
    }[part.kind]
    model, facts = trainer(job, data, run, needs)
    return model, {"part": job.part, "classes": data.classes, **facts}


def _train_stylegan(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.stylegan import preset, train_stylegan

    images = stylegan_images(PARTS[job.part].target, data)
    config = preset(
        job.preset,
        size=images.shape[-1],
        channels=images.shape[1],
        count=len(images),
        target=PARTS[job.part].target,
        untrained=job.untrained,
    )
    config = scaled(config, job.scale)
    return train_stylegan(images, config, run), {"config": asdict(config)}


def scaled(config: StyleGANConfig, scale: float) -> StyleGANConfig:
    """A StyleGAN schedule of `scale` times the images, at least one batch per stage."""
    stages = zip(config.stage_images, config.stage_batches, strict=True)
    images = tuple(max(batch, round(count * scale)) for count, batch in stages)
    return replace(config, stage_images=images)


def stylegan_images(target: str, data: TrainingData) -> Tensor:
    """What G1 learns to draw, (N, C, H, W) in [-1, 1]; masks as one channel per class."""
    if target == "masks":
        return one_hot(data.masks[data.labelled], data.classes) * 2 - 1
    grey = data.guidance / 255 if target == "guidance" else data.images
    return grey * 2 - 1


def _train_translation(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.translation import preset, train_translation

    from_masks = PARTS[job.part].target == "masks"
    rows = data.labelled if from_masks else torch.ones_like(data.labelled)
    conditions = (
        one_hot(data.masks[rows], data.classes) if from_masks else data.guidance[rows] / 255
    )
    config = preset(
        job.preset,
        size=data.images.shape[-1],
        count=int(rows.sum()),
        segmentation=not from_masks,
        untrained=job.untrained,
        scale=job.scale,
    )
    model = train_translation(
        conditions, data.images[rows], data.masks[rows], data.labelled[rows], data.classes,
        config, run,
    )  # fmt: skip
    facts = {
        "config": asdict(config),
        "conditions": conditions.shape[1],
        "perceptual": model.perceptual_name,
    }
    return model, facts


def _train_pixel_classifier(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.datasetgan import preset, train_pixel_classifier

    gan = build(needs["g1-images"])
    annotator = build(needs["segmenter"])
    config = preset(job.preset, untrained=job.untrained, **job.options)
    model = train_pixel_classifier(
        gan, _annotate_with(annotator), data.images.shape[-1], data.classes, config, run
    )
    return model, {"config": asdict(config), "annotator": "segmenter"}


def _annotate_with(segmenter: nn.Module) -> Callable[[Tensor], Tensor]:
    """The annotator: a segmenter trained on real images labels generated ones in [0, 1]."""
    from umbench_baselines.segmenter import segment

    return lambda images: segment(segmenter, images)


def one_hot(masks: Tensor, classes: int) -> Tensor:
    """(N, H, W) class numbers to (N, classes, H, W) float32."""
    return functional.one_hot(masks, classes).permute(0, 3, 1, 2).float()


def build(saved: Saved) -> Any:
    """The network of a saved part or segmenter, in evaluation mode."""
    state, facts = saved
    kind = PARTS[facts["part"]].kind if "part" in facts else "segmenter"
    model: nn.Module
    if kind == "stylegan":
        from umbench_baselines.stylegan import StyleGAN, StyleGANConfig

        model = StyleGAN(_config(StyleGANConfig, facts))
    elif kind == "translation":
        from umbench_baselines.translation import TranslationConfig, Translator

        model = Translator(facts["conditions"], facts["classes"], _config(TranslationConfig, facts))
    elif kind == "pixel-classifier":
        from umbench_baselines.datasetgan import PixelClassifier, PixelClassifierConfig

        model = PixelClassifier.from_state(
            dict(state), facts["classes"], _config(PixelClassifierConfig, facts)
        )
    else:
        from umbench_baselines.segmenter import PRESETS, build_segmenter

        model = build_segmenter(facts["classes"], PRESETS[facts["preset"]])
    model.load_state_dict(dict(state))
    return model.eval()


def _config(kind: type, facts: Mapping[str, Any]) -> Any:
    """A config dataclass from JSON: lists become the tuples that they were."""
    values = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts["config"].items()
    }
    return kind(**values)


def draw(
    entry: Entry,
    parts: Mapping[str, Saved],
    *,
    count: int,
    seed: int,
    conditions: Tensor | None,
    t: int,
    psi: float,
    size: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> AnnotatedBatch:
    """Draw `count` annotated images of side `size` from an entry's trained parts.

    conditions: label masks (N, H, W) int64 or unsupervised masks (N, 1, H, W) in [0, 255],
    where the entry starts from real guidance. Generated unsupervised masks are snapped to
    multiples of t; generated label masks are the argmax over class channels.
    """
    models = {name: build(saved) for name, saved in parts.items()}
    if "pixel-classifier" in models:
        from umbench_baselines.datasetgan import annotate

        images, masks, _ = annotate(
            models["g1-images"], models["pixel-classifier"], count, seed, psi
        )
        return AnnotatedBatch(images=images, masks=masks)
    translator_name = next(name for name in models if PARTS[name].kind == "translation")
    if conditions is None:
        source = next(name for name in models if PARTS[name].kind == "stylegan")
        conditions = draw_conditions(models[source], PARTS[source].target, count, seed, psi, t)
    classes = int(parts[translator_name][1]["classes"])
    if PARTS[translator_name].target == "masks":
        images, _ = models[translator_name].translate(one_hot(conditions, classes))
        return AnnotatedBatch(images=images, masks=conditions)
    images, probabilities = models[translator_name].translate(conditions / 255)
    return AnnotatedBatch(images=images, masks=probabilities.argmax(1), conditions=conditions)


def draw_conditions(
    gan: StyleGAN, target: str, count: int, seed: int, psi: float, t: int
) -> Tensor:
    """Generated guidance: label masks (N, H, W) int64 or unsupervised masks (N, 1, H, W)."""
    drawn = gan.sample(count, seed, psi)
    if target == "masks":
        return drawn.argmax(1)
    return snap((drawn.clamp(-1, 1) + 1) * 127.5, t)
