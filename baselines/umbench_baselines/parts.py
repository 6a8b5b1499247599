"""Train one part of an entry; draw annotated images from an entry's trained parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from umbench_baselines.contracts import AnnotatedBatch, LabelMaps, Pictures, TrainingData, one_hot
from umbench_baselines.entries import PARTS, Entry
from umbench_baselines.guidance.unsupervised_mask import snap
from umbench_baselines.training import Devices, TrainingRun

if TYPE_CHECKING:
    from umbench_baselines.stylegan import StyleGAN, StyleGANConfig

Saved = tuple[Mapping[str, Tensor], Mapping[str, Any]]
"""A trained part: its weights, and the facts that `train_part` returned with it."""


@dataclass(frozen=True)
class TrainPart:
    """What to train: a part, a preset (quick, small, paper), what a suite says of the part (see
    `entries.KIND_OPTIONS`, and perceptual with its SHA-256 for a translator), and what the
    preset's steps are multiplied by.
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
    need labels, and supervised ones, see labelled rows alone. With `untrained` the network is
    left at step 0.
    """
    part, options = PARTS[job.part], dict(job.options)
    supervised = options.pop("supervision", "semi") == "supervised"
    if supervised or (part.target == "masks"):
        data = data.take(data.labelled)
    trainer = {
        "stylegan": _train_stylegan,
        "translation": _train_translation,
        "pixel-classifier": _train_pixel_classifier,
    }[part.kind]
    model, facts = trainer(replace(job, options=options), data, run, needs)
    return model, {"part": job.part, "classes": data.classes, **facts}


def _train_stylegan(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.stylegan import preset, train_stylegan

    images = Drawn(data, PARTS[job.part].target)
    config = preset(
        job.preset,
        size=images.size,
        channels=images.channels,
        count=len(images),
        target=images.target,
        untrained=job.untrained,
        **job.options,
    )
    config = scaled(config, job.scale)
    return train_stylegan(images, config, run), {"config": asdict(config)}


def scaled(config: StyleGANConfig, scale: float) -> StyleGANConfig:
    """A StyleGAN schedule of `scale` times the images, at least one batch per stage."""
    stages = zip(config.stage_images, config.stage_batches, strict=True)
    images = tuple(max(batch, round(count * scale)) for count, batch in stages)
    return replace(config, stage_images=images)


@dataclass(frozen=True)
class Drawn:
    """What G1 learns to draw: "masks" as one channel per class, "guidance" or "images" as grey."""

    data: TrainingData
    target: str

    def __len__(self) -> int:
        return len(self.data.images)

    @property
    def channels(self) -> int:
        """One, or the number of classes."""
        return self.data.classes if self.target == "masks" else 1

    @property
    def size(self) -> int:
        """Side in pixels."""
        return self.data.images.size[0]

    def batch(self, rows: Any) -> Tensor:
        """(n, channels, size, size) float32 in [-1, 1]."""
        if self.target == "masks":
            return one_hot(self.data.masks.batch(rows), self.data.classes) * 2 - 1
        pictures = self.data.guidance if self.target == "guidance" else self.data.images
        if pictures is None:
            raise ValueError("this part learns from guidance, and the training data have none")
        return pictures.batch(rows) * 2 - 1


def _train_translation(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.translation import preset, train_translation

    from_masks = PARTS[job.part].target == "masks"
    options = {"heads": "image" if from_masks else "both", **job.options}
    config = preset(
        job.preset,
        size=data.images.size[0],
        count=len(data.images),
        untrained=job.untrained,
        scale=job.scale,
        **options,
    )
    source: Literal["masks", "guidance"] = "masks" if from_masks else "guidance"
    model, facts = train_translation(data, source, config, run)
    return model, {"config": asdict(config), **facts}


def _train_pixel_classifier(
    job: TrainPart, data: TrainingData, run: TrainingRun, needs: Mapping[str, Saved]
) -> tuple[nn.Module, dict[str, Any]]:
    from umbench_baselines.datasetgan import preset, train_pixel_classifier

    config = preset(job.preset, untrained=job.untrained, **job.options)
    gan = build(needs["g1-images"])
    annotator = _annotate_with(build(needs["segmenter"]).to(Devices().device))
    model = train_pixel_classifier(gan, annotator, data.classes, config, run)
    return model, {"config": asdict(config), "annotator": "segmenter"}


def _annotate_with(segmenter: nn.Module) -> Callable[[Tensor], Tensor]:
    """The annotator: a segmenter trained on real images labels generated ones in [0, 1]."""
    from umbench_baselines.segmenter import segment

    return lambda images: torch.cat([found.cpu().long() for found in segment(segmenter, images)])


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


class Sampler:
    """An entry's trained parts on one device; image i of a seed is the same in any batch.

    conditions: label maps or unsupervised masks, as many as images, where the entry starts from
    real guidance; else None. Generated unsupervised masks are snapped to multiples of t;
    generated label masks are the argmax over class channels. `drawn` images are made for `count`
    that are kept.
    """

    def __init__(
        self,
        entry: Entry,
        parts: Mapping[str, Saved],
        *,
        count: int,
        seed: int,
        conditions: Pictures | LabelMaps | None,
        t: int,
        psi: float,
        device: torch.device,
    ) -> None:
        self.entry, self.count, self.seed, self.t, self.psi = entry, count, seed, t, psi
        self.conditions = conditions
        self.models = {name: build(saved).to(device) for name, saved in parts.items()}
        self.classes = next(int(saved[1]["classes"]) for saved in parts.values())
        self.drawn = count
        if self.doubts:
            from umbench_baselines.datasetgan import drawn

            self.drawn = drawn(count, self.models["pixel-classifier"].config)

    @property
    def annotates(self) -> bool:
        """Whether images come with masks: all do but those of an image head alone."""
        return "g2-guidance" not in self.models or any(
            name == "g2-segmentation" or model.config.heads == "both"
            for name, model in self.models.items()
            if PARTS[name].kind == "translation"
        )

    @property
    def doubts(self) -> bool:
        """Whether more are drawn than kept, by how uncertain their annotations are."""
        return "pixel-classifier" in self.models

    def batch(self, rows: slice) -> AnnotatedBatch:
        """Images `rows.start` .. `rows.stop` of those drawn, on the CPU."""
        if self.doubts:
            from umbench_baselines.datasetgan import annotate

            gan, classifier = self.models["g1-images"], self.models["pixel-classifier"]
            images, masks, doubt = annotate(gan, classifier, rows, self.seed, self.psi)
            return AnnotatedBatch(images=images, masks=masks, doubt=doubt)
        conditions = self._conditions(rows)
        if "g2-masks" in self.models:
            found, _ = self.models["g2-masks"].translate(one_hot(conditions, self.classes))
            return AnnotatedBatch(images=found, masks=conditions)
        found, probabilities = self.models["g2-guidance"].translate(conditions / 255)
        if "g2-segmentation" in self.models:
            _, probabilities = self.models["g2-segmentation"].translate(conditions / 255)
        annotation = None if probabilities is None else probabilities.argmax(1)
        return AnnotatedBatch(images=found, masks=annotation, conditions=conditions)

    def _conditions(self, rows: slice) -> Tensor:
        """Real or drawn: label masks (n, H, W) int64 or guidance (n, 1, H, W) in [0, 255]."""
        if isinstance(self.conditions, LabelMaps):
            return self.conditions.batch(rows)
        if self.conditions is not None:
            return (self.conditions.batch(rows) * 255).round()
        source = next(name for name in self.models if PARTS[name].kind == "stylegan")
        return draw_conditions(
            self.models[source], PARTS[source].target, rows, self.seed, self.psi, self.t
        )

    def keep(self, doubt: Tensor | None) -> Tensor:
        """Which of the drawn images are kept, given what `batch` said of each: (count,) rows."""
        if doubt is None:
            return torch.arange(self.count)
        from umbench_baselines.datasetgan import keep

        kept: Tensor = keep(doubt, self.count)
        return kept


def draw_conditions(
    gan: StyleGAN, target: str, rows: slice, seed: int, psi: float, t: int
) -> Tensor:
    """Generated guidance: label masks (n, H, W) int64 or unsupervised masks (n, 1, H, W)."""
    drawn = gan.sample(rows.stop - rows.start, seed, psi, start=rows.start)
    if target == "masks":
        return drawn.argmax(1)
    return snap((drawn.clamp(-1, 1) + 1) * 127.5, t)
