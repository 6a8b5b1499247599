"""The pixel classifiers as a part: trained on a StyleGAN and on a segmenter that annotates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from umbench_baselines.contracts import Budget, Part, Trained, TrainingData, config_of
from umbench_baselines.datasetgan.config import PixelClassifierConfig, preset
from umbench_baselines.stylegan.part import StyleGANPart

if TYPE_CHECKING:
    from umbench_baselines.datasetgan.classifier import PixelClassifier
    from umbench_baselines.training import TrainingRun


@dataclass(frozen=True)
class PixelClassifierPart(Part):
    """The ensemble on the features of `gan`; annotated: how many of its images get annotated."""

    COST: ClassVar[str | None] = "umbench_baselines.datasetgan.cost"

    gan: StyleGANPart
    annotated: int | None = None

    @property
    def name(self) -> str:
        """What it is."""
        return "pixel-classifier"

    @property
    def needs(self) -> tuple[Part, ...]:
        """The StyleGAN."""
        return (self.gan,)

    @property
    def segmenter(self) -> bool:
        """It annotates."""
        return True

    def config(self, budget: Budget) -> PixelClassifierConfig:
        """Shape and schedule; the budget's scale changes neither."""
        options = {} if self.annotated is None else {"annotated": self.annotated}
        return preset(budget.preset, untrained=budget.untrained, **options)

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        """As `Part.train`; facts: "config", "classes", "annotator"."""
        import torch
        from torch import Tensor

        from umbench_baselines.datasetgan.train import train_pixel_classifier
        from umbench_baselines.segmenter import segment, segmenter_of
        from umbench_baselines.training import Devices

        config = self.config(run.budget)
        segmenter = segmenter_of(needs["segmenter"]).to(Devices().device)

        def annotator(images: Tensor) -> Tensor:
            return torch.cat([found.cpu().long() for found in segment(segmenter, images)])

        gan = self.gan.build(needs[self.gan.name])
        network = train_pixel_classifier(gan, annotator, data.classes, config, run)
        facts = {"classes": data.classes, "config": asdict(config), "annotator": "segmenter"}
        return Trained.of(network, facts)

    def build(self, trained: Trained) -> PixelClassifier:
        """As `Part.build`."""
        from umbench_baselines.datasetgan.classifier import PixelClassifier

        config = config_of(PixelClassifierConfig, trained.facts)
        return PixelClassifier.from_state(trained.weights, trained.facts["classes"], config)
