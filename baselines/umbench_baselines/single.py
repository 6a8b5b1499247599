"""A generator of one network: what a third party writes is how it trains and how it draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbench_baselines import entries
from umbench_baselines.contracts import (
    Generator,
    GeneratorOptions,
    Part,
    Perceptual,
    Trained,
    TrainingData,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

    from umbench_baselines.training import TrainingRun


class OneNetwork(Generator):
    """Base of a registered generator that trains one network.

    A class of its own says `name` and `summary`, may bring `Options`, and has `train`, `network`
    and `sample`, whose state is the trained network on the device. guidance: whether training
    needs unsupervised masks.
    """

    guidance: bool = False

    @abstractmethod
    def train(self, data: TrainingData, run: TrainingRun, options: Any) -> Trained:
        """Train within `run.budget`, by `umbench_baselines.training.run_loop`, which resumes.

        Called in every process of a training at once. Returns `Trained.of(network, facts)`.
        """

    @abstractmethod
    def network(self, facts: Mapping[str, Any], options: Any) -> nn.Module:
        """The network that `train` told these facts of, with any weights."""

    def parts(self, options: GeneratorOptions, perceptual: Perceptual) -> tuple[Part, ...]:
        """The network, as a part of its own."""
        return (OwnPart(self.name, options),)

    def build(
        self, trained: Mapping[str, Trained], options: GeneratorOptions, device: torch.device
    ) -> Any:
        """The trained network on a device."""
        (part,) = self.parts(options, Perceptual())
        return part.build(trained[part.name]).to(device)


@dataclass(frozen=True)
class OwnPart(Part):
    """The network of the registered generator that is called `generator`."""

    generator: str
    options: GeneratorOptions

    @property
    def name(self) -> str:
        """As its generator."""
        return self.generator

    @property
    def source(self) -> str:
        """The module that registered the generator."""
        return entries.source(self.generator)

    @property
    def guidance(self) -> bool:
        """As the generator says."""
        return self._of().guidance

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        """As the generator does."""
        return self._of().train(data, run, self.options)

    def build(self, trained: Trained) -> nn.Module:
        """As `Part.build`."""
        return trained.into(self._of().network(trained.facts, self.options))

    def _of(self) -> OneNetwork:
        found = entries.get(self.generator)
        assert isinstance(found, OneNetwork)
        return found
