"""The sizes of G2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from umbench_baselines.translation.config import TranslationConfig

PAPER_EPOCHS = 200
SUPERVISED = 1 / 2
"""Share of the steps before pseudo-segmentations are made."""
PRESETS = {
    "quick": TranslationConfig(
        width=16, cap=96, disc_width=16, disc_down=3, batch=8, lr=1e-3, ema_images=100.0
    ),
    "small": TranslationConfig(
        width=24, cap=160, disc_width=24, disc_down=4, batch=8, lr=7e-4, ema_images=400.0
    ),
    # 4 images on each of 4 GPUs, as in the paper: batch normalisation then sees four of them
    "paper": TranslationConfig(batch=16),
}
STEPS = {"quick": 120, "small": 500}


def preset(
    name: str,
    *,
    size: int,
    count: int,
    heads: str = "both",
    untrained: bool = False,
    scale: float = 1.0,
    **options: Any,
) -> TranslationConfig:
    """Configuration for `count` images of side `size`; `scale` times the steps.

    options: fields of `TranslationConfig` that a suite sets, such as paired and perceptual. All
    presets keep 4 down-samplings and 9 residual blocks. ValueError for an unknown name.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset called {name!r}; there are {', '.join(PRESETS)}")
    config = PRESETS[name]
    if name == "paper":
        config = replace(config, disc_scales=2 if size >= 512 else 1)
    steps = STEPS.get(name, PAPER_EPOCHS * -(-count // config.batch))
    steps = 0 if untrained else max(2, round(steps * scale))
    supervised = steps if heads == "image" else round(steps * SUPERVISED)
    return replace(
        config,
        heads=heads,
        steps_supervised=supervised,
        steps_semi=steps - supervised,
        **options,
    )
