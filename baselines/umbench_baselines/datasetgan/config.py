"""Shape and schedule of the ensemble of pixel classifiers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class PixelClassifierConfig:
    """Shape and training of the ensemble.

    annotated: number of generated images that get annotated. batch_pixels: pixels per step,
    the same for all members. drop_quantile: share of the drawn images, the most uncertain ones,
    that is left out.
    """

    ensemble: int = 10
    hidden: tuple[int, int] = (128, 32)
    steps: int = 2000
    batch_pixels: int = 4096
    lr: float = 0.001
    annotated: int = 16
    drop_quantile: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop_quantile < 1:
            raise ValueError(f"drop_quantile is {self.drop_quantile}; it must lie in [0, 1)")
        if min(self.ensemble, self.annotated, self.batch_pixels) < 1:
            raise ValueError("ensemble, annotated and batch_pixels must be at least 1")

    def drawn(self, count: int) -> int:
        """How many images to draw so that `count` are left when the uncertain ones are dropped."""
        return math.ceil(count / (1 - self.drop_quantile) - 1e-9)


PRESETS = {
    "quick": PixelClassifierConfig(hidden=(32, 16), steps=150, batch_pixels=1024, lr=0.005),
    "small": PixelClassifierConfig(steps=600, batch_pixels=2048, lr=0.002),
    "paper": PixelClassifierConfig(),
}
"""Configurations by name."""


def preset(name: str, *, untrained: bool = False, **options: Any) -> PixelClassifierConfig:
    """A preset with some fields replaced; `untrained` means no steps. ValueError if unknown."""
    if name not in PRESETS:
        raise ValueError(f"no preset called {name!r}; there are {', '.join(PRESETS)}")
    if untrained:
        options["steps"] = 0
    try:
        return replace(PRESETS[name], **options)
    except TypeError as error:
        fields = ", ".join(PixelClassifierConfig.__dataclass_fields__)
        raise ValueError(f"options {sorted(options)}: there are only {fields}") from error
