"""Generators that start from real guidance: M2I and UM2I (paper, section III.B)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from umbench_baselines.contracts import (
    AnnotatedBatch,
    Generator,
    GeneratorOptions,
    Part,
    Perceptual,
    Trained,
    one_hot,
)
from umbench_baselines.translation.part import Heads, TranslationPart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from umbench_baselines.translation.networks import Translator


class MaskOptions(GeneratorOptions):
    """What a suite may say of translators of label masks."""

    paired: bool = Field(True, description="perceptual loss against the paired image")


class GuidanceOptions(MaskOptions):
    """What a suite may say of translators of unsupervised masks."""

    supervision: Literal["semi", "supervised"] = Field(
        "semi", description="supervised: labelled images alone"
    )
    heads: Heads = Field(
        "both", description="one network for both, the image alone, or one network each"
    )


class MaskToImage(Generator):
    """M2I: a real label mask becomes an image."""

    name = "m2i"
    summary = "label mask to image"
    conditions = "masks"
    Options = MaskOptions

    def parts(self, options: MaskOptions, perceptual: Perceptual) -> tuple[Part, ...]:
        """The translator."""
        return (TranslationPart("masks", paired=options.paired, perceptual=perceptual),)

    def build(
        self, trained: Mapping[str, Trained], options: MaskOptions, device: torch.device
    ) -> Translator:
        """The translator on a device."""
        part = TranslationPart("masks")
        return part.build(trained[part.name]).to(device)

    def sample(
        self, state: Translator, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """As `Generator.sample`; what is drawn does not depend on the seed."""
        assert conditions is not None
        images, _ = state.translate(one_hot(conditions, state.classes))
        assert images is not None
        return AnnotatedBatch(images=images, masks=conditions)


@dataclass(frozen=True)
class Heading:
    """The translator that draws images, and the one that segments where there are two."""

    drawing: Translator
    segmenting: Translator | None


class GuidanceToImage(Generator):
    """UM2I: a real unsupervised mask becomes an image and its segmentation."""

    name = "um2i"
    summary = "unsupervised mask to image and segmentation"
    conditions = "guidance"
    guided = True
    Options = GuidanceOptions

    def parts(self, options: GuidanceOptions, perceptual: Perceptual) -> tuple[Part, ...]:
        """One translator; two that share nothing where heads is "segmentation"."""
        supervision = options.supervision
        image = TranslationPart(
            "guidance",
            heads="both" if options.heads == "both" else "image",
            paired=options.paired,
            supervision=supervision,
            perceptual=perceptual,
        )
        if options.heads != "segmentation":
            return (image,)
        # without an image there is nothing to compare
        return image, TranslationPart("guidance", heads="segmentation", supervision=supervision)

    def build(
        self, trained: Mapping[str, Trained], options: GuidanceOptions, device: torch.device
    ) -> Heading:
        """The translators on a device."""
        part = TranslationPart("guidance")
        built = {name: part.build(network).to(device) for name, network in trained.items()}
        return Heading(built["g2-guidance"], built.get("g2-segmentation"))

    def sample(
        self, state: Heading, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """As `Generator.sample`; what is drawn does not depend on the seed."""
        assert conditions is not None
        images, probabilities = state.drawing.translate(conditions / 255)
        if state.segmenting is not None:
            _, probabilities = state.segmenting.translate(conditions / 255)
        assert images is not None
        masks = None if probabilities is None else probabilities.argmax(1)
        return AnnotatedBatch(images=images, masks=masks, conditions=conditions)

    def annotates(self, options: GuidanceOptions) -> bool:
        """Not with an image head alone."""
        return options.heads != "image"


M2I, UM2I = MaskToImage(), GuidanceToImage()
