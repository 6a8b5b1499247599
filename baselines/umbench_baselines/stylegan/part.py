"""G1 as a part: what it draws, how it is trained, and how it is built again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from umbench_baselines.contracts import Budget, Part, Trained, TrainingData, config_of
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.presets import preset

if TYPE_CHECKING:
    from umbench_baselines.stylegan.networks import StyleGAN
    from umbench_baselines.training import TrainingRun


def _power_of_two(side: int | None) -> int | None:
    if side and side & (side - 1):
        raise ValueError("must be a power of two, since the networks halve and double it")
    return side


MaxSize = Annotated[
    int | None,
    Field(ge=8, le=4096, description="largest side that G1 draws, px"),
    AfterValidator(_power_of_two),
]
"""What suites may say of `StyleGANPart.max_size`."""


@dataclass(frozen=True)
class StyleGANPart(Part):
    """A StyleGAN of label masks, of unsupervised masks or of images.

    max_size: the largest side that it works at. supervision: "supervised" sees labelled images
    alone, as one of label masks always does.
    """

    COST: ClassVar[str | None] = "umbench_baselines.stylegan.cost"

    draws: Literal["masks", "guidance", "images"]
    max_size: int | None = None
    supervision: Literal["semi", "supervised"] = "semi"

    @property
    def name(self) -> str:
        """As the paper calls it, and what it draws."""
        return f"g1-{self.draws}"

    @property
    def guidance(self) -> bool:
        """Whether it draws unsupervised masks."""
        return self.draws == "guidance"

    @property
    def labelled_alone(self) -> bool:
        """Whether images without a label map are left out."""
        return self.supervision == "supervised" or self.draws == "masks"

    def config(self, budget: Budget, *, size: int, classes: int, count: int) -> StyleGANConfig:
        """Shape and schedule for `count` images of side `size`."""
        return preset(
            budget.preset,
            size=size,
            channels=classes if self.draws == "masks" else 1,
            count=count,
            target=self.draws,
            untrained=budget.untrained,
            scale=budget.scale,
            max_size=self.max_size,
        )

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        """As `Part.train`; facts: "t", the step of the masks that it draws, "config", "classes"."""
        from umbench_baselines.stylegan.source import Drawn
        from umbench_baselines.stylegan.train import train_stylegan

        seen = data.take(data.labelled) if self.labelled_alone else data
        images = Drawn(seen, self.draws)
        config = self.config(run.budget, size=images.size, classes=data.classes, count=len(images))
        network = train_stylegan(images, config, run)
        facts = {"classes": data.classes, "config": asdict(config)}
        return Trained.of(network, facts | ({"t": data.t} if self.guidance else {}))

    def build(self, trained: Trained) -> StyleGAN:
        """As `Part.build`."""
        from umbench_baselines.stylegan.networks import StyleGAN

        return trained.into(StyleGAN(config_of(StyleGANConfig, trained.facts)))
