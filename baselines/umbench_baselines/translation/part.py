"""G2 as a part: what it starts from, what it draws, how it is trained and built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from umbench_baselines.contracts import (
    QUIET,
    Budget,
    Part,
    Perceptual,
    Trained,
    TrainingData,
    config_of,
)
from umbench_baselines.translation.config import TranslationConfig
from umbench_baselines.translation.presets import preset

if TYPE_CHECKING:
    import numpy as np

    from umbench_baselines.training import TrainingRun
    from umbench_baselines.translation.networks import Translator

Heads = Literal["both", "image", "segmentation"]


@dataclass(frozen=True)
class TranslationPart(Part):
    """A translator of label masks or of unsupervised masks.

    heads: what it draws of image and segmentation; of label masks always the image alone, since
    they are its segmentation. paired: whether it is compared with the image that its condition
    belongs to, by the network `perceptual`. supervision: "supervised" sees labelled images alone,
    as one of label masks always does.
    """

    COST: ClassVar[str | None] = "umbench_baselines.translation.cost"

    conditions: Literal["masks", "guidance"]
    heads: Heads = "both"
    paired: bool = True
    supervision: Literal["semi", "supervised"] = "semi"
    perceptual: Perceptual = field(default=Perceptual(), metadata=QUIET)

    @property
    def name(self) -> str:
        """As the paper calls it, and what it starts from; or that it segments alone."""
        return f"g2-{'segmentation' if self.heads == 'segmentation' else self.conditions}"

    @property
    def guidance(self) -> bool:
        """Whether it starts from unsupervised masks."""
        return self.conditions == "guidance"

    @property
    def labelled_alone(self) -> bool:
        """Whether images without a label map are left out."""
        return self.supervision == "supervised" or self.conditions == "masks"

    def config(self, budget: Budget, *, size: int, count: int) -> TranslationConfig:
        """Shape and schedule for `count` images of side `size`."""
        return preset(
            budget.preset,
            size=size,
            count=count,
            heads=self.heads if self.guidance else "image",
            untrained=budget.untrained,
            scale=budget.scale,
            paired=self.paired,
            perceptual=self.perceptual.name,
            perceptual_sha256=self.perceptual.sha256,
        )

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        """As `Part.train`; facts as of `train_translation`."""
        from umbench_baselines.translation.train import train_translation

        seen = data.take(data.labelled) if self.labelled_alone else data
        config = self.config(run.budget, size=data.images.size[0], count=len(seen.images))
        network, facts = train_translation(seen, self.conditions, config, run)
        return Trained.of(network, {"classes": data.classes, "config": asdict(config), **facts})

    def build(self, trained: Trained) -> Translator:
        """As `Part.build`."""
        from umbench_baselines.translation.networks import Translator

        facts = trained.facts
        config = config_of(TranslationConfig, facts)
        return trained.into(Translator(facts["conditions"], facts["classes"], config))

    def guessed(self, folder: Path, data: TrainingData) -> tuple[np.ndarray, np.ndarray] | None:
        """As `Part.guessed`: the pseudo-segmentations, where there are any."""
        from umbench_baselines.translation.pseudo import read_pseudo

        return read_pseudo(folder, data)
