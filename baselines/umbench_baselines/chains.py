"""Generators from noise: G1 draws the guidance that another generator starts from.

They share its training: `v2m2i` is `m2i` after a StyleGAN of label masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from umbench_baselines.contracts import (
    AnnotatedBatch,
    Generator,
    GeneratorOptions,
    Part,
    Perceptual,
    Trained,
)
from umbench_baselines.guidance.unsupervised_mask import snap
from umbench_baselines.stylegan.part import MaxSize, StyleGANPart
from umbench_baselines.translation.generators import M2I, UM2I, GuidanceOptions, MaskOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from umbench_baselines.stylegan.networks import StyleGAN


class MaskChainOptions(MaskOptions):
    """What a suite may say of noise to label mask to image."""

    max_size: MaxSize = None


class GuidanceChainOptions(GuidanceOptions):
    """What a suite may say of noise to unsupervised mask to image."""

    max_size: MaxSize = None


@dataclass(frozen=True)
class Chained:
    """The StyleGAN, the step of the unsupervised masks that it draws, and the state after it."""

    gan: StyleGAN
    t: int
    then: Any


class Chain(Generator):
    """G1, then the generator `then` with what G1 drew; first: G1 under some options."""

    then: Generator

    def first(self, options: Any) -> StyleGANPart:
        """The part that draws what `then` starts from."""
        raise NotImplementedError

    def parts(self, options: GeneratorOptions, perceptual: Perceptual) -> tuple[Part, ...]:
        """G1, and the parts of what comes after it."""
        return (self.first(options), *self.then.parts(options, perceptual))

    def build(
        self, trained: Mapping[str, Trained], options: GeneratorOptions, device: torch.device
    ) -> Chained:
        """All networks on a device."""
        part = self.first(options)
        after = {name: network for name, network in trained.items() if name != part.name}
        own = trained[part.name]
        return Chained(
            part.build(own).to(device),
            own.facts.get("t", 0),
            self.then.build(after, options, device),
        )

    def sample(
        self, state: Chained, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """As `Generator.sample`.

        Generated label masks are the class of the largest channel; generated unsupervised masks are
        snapped to multiples of their step.
        """
        drawn = state.gan.sample(count, seed, start=start)
        if self.then.conditions == "masks":
            made = drawn.argmax(1)
        else:
            made = snap((drawn.clamp(-1, 1) + 1) * 127.5, state.t)
        return self.then.sample(state.then, count, seed, made, start)

    def annotates(self, options: GeneratorOptions) -> bool:
        """As what comes after G1."""
        return self.then.annotates(options)


class NoiseToMask(Chain):
    """V2M2I."""

    name = "v2m2i"
    summary = "noise to label mask to image"
    then = M2I
    Options = MaskChainOptions

    def first(self, options: MaskChainOptions) -> StyleGANPart:
        """G1 of label masks."""
        return StyleGANPart("masks", max_size=options.max_size)


class NoiseToGuidance(Chain):
    """V2UM2I."""

    name = "v2um2i"
    summary = "noise to unsupervised mask to image and segmentation"
    guided = True
    then = UM2I
    Options = GuidanceChainOptions

    def first(self, options: GuidanceChainOptions) -> StyleGANPart:
        """G1 of unsupervised masks."""
        return StyleGANPart("guidance", max_size=options.max_size, supervision=options.supervision)


V2M2I, V2UM2I = NoiseToMask(), NoiseToGuidance()
