"""datasetGAN as a generator: a StyleGAN draws images, the ensemble annotates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from umbench_baselines.contracts import (
    AnnotatedBatch,
    Generator,
    GeneratorOptions,
    Part,
    Perceptual,
    Trained,
)
from umbench_baselines.datasetgan.part import PixelClassifierPart
from umbench_baselines.stylegan.part import MaxSize, StyleGANPart

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from umbench_baselines.datasetgan.classifier import PixelClassifier
    from umbench_baselines.stylegan.networks import StyleGAN


class DatasetGANOptions(GeneratorOptions):
    """What a suite may say of it."""

    max_size: MaxSize = None
    annotated: Annotated[int | None, Field(ge=1, description="generated images labelled")] = None


@dataclass(frozen=True)
class Annotating:
    """The two networks."""

    gan: StyleGAN
    classifier: PixelClassifier


class DatasetGAN(Generator):
    """Zhang et al. 2021; the most doubtful of the images drawn are left out."""

    name = "datasetgan"
    summary = "noise to image; pixel classifiers on its features annotate"
    annotator = "segmenter"
    chooses = True
    Options = DatasetGANOptions

    def parts(self, options: DatasetGANOptions, perceptual: Perceptual) -> tuple[Part, ...]:
        """The StyleGAN of images, and the classifiers on its features."""
        gan = StyleGANPart("images", max_size=options.max_size)
        return gan, PixelClassifierPart(gan, options.annotated)

    def build(
        self, trained: Mapping[str, Trained], options: DatasetGANOptions, device: torch.device
    ) -> Annotating:
        """Both networks on a device."""
        gan = StyleGANPart("images")
        classifier = PixelClassifierPart(gan)
        return Annotating(
            gan.build(trained[gan.name]).to(device),
            classifier.build(trained[classifier.name]).to(device),
        )

    def sample(
        self, state: Annotating, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """As `Generator.sample`."""
        from umbench_baselines.datasetgan.annotate import annotate

        rows = slice(start, start + count)
        images, masks, doubt = annotate(state.gan, state.classifier, rows, seed)
        return AnnotatedBatch(images=images, masks=masks, doubt=doubt)

    def drawn(self, count: int, state: Annotating) -> int:
        """More than are kept."""
        return state.classifier.config.drawn(count)

    def keep(self, doubt: Tensor, count: int) -> Tensor:
        """The most certain ones."""
        from umbench_baselines.datasetgan.annotate import keep

        return keep(doubt, count)


DATASETGAN = DatasetGAN()
