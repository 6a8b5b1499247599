"""What a suite's training would cost: operations counted on the networks themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbench.suite.schema import Suite

TRAINING_PASSES = 3
"""A backward pass costs about twice a forward one."""


@dataclass(frozen=True)
class Cost:
    """Floating point operations of one training, in units of 1e15 (PFLOP)."""

    name: str
    peta: float


def training_costs(suite: Suite) -> list[Cost]:
    """Forward operations per image, counted on meta tensors, times images seen, times three.

    Discriminators, perceptual networks, scoring and segmentation are left out: the true cost is
    higher, so what is said of it is "at least".
    """
    from umbench_baselines.entries import PARTS, get

    size = suite.data.phantom.size if suite.data.phantom else max(suite.panel.resolutions)
    train = suite.splits.train if suite.splits != "given" else suite.samples
    names = dict.fromkeys(p for choice in suite.generators for p in get(choice.id).parts)
    costs = []
    for name in names:
        part = PARTS[name]
        count = min(train, suite.labelled or train) if part.labels else train
        if part.kind == "stylegan":
            forward = _stylegan(
                suite.training.preset, size, 3 if part.target == "masks" else 1, count
            )
        elif part.kind == "translation":
            forward = _translation(
                suite.training.preset, size, 3 if part.target == "masks" else 1, count
            )
        else:
            continue
        repeats = TRAINING_PASSES * len(suite.training.seeds) * suite.training.scale
        costs.append(Cost(name, forward * repeats / 1e15))
    return costs


def _stylegan(preset_name: str, size: int, channels: int, count: int) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from umbench_baselines.stylegan import StyleGAN, preset

    config = preset(preset_name, size=size, channels=channels, count=count)
    with torch.device("meta"):
        gan, latent = StyleGAN(config), torch.zeros(1, config.latent)
        total = 0.0
        for resolution, images in zip(config.resolutions, config.stage_images, strict=True):
            with FlopCounterMode(display=False) as counter:
                gan(latent, resolution)
            total += counter.get_total_flops() * images
    return total


def _translation(preset_name: str, size: int, channels: int, count: int) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from umbench_baselines.translation import Translator, preset

    config = preset(preset_name, size=size, count=count, segmentation=channels == 1)
    with torch.device("meta"):
        model = Translator(channels, 3, config)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, channels, size, size))
    steps = config.steps_supervised + config.steps_semi
    return float(counter.get_total_flops()) * steps * config.batch


def cpu_speed(seconds: float = 0.5) -> float:
    """Operations per second of 3x3 convolutions on this CPU, measured now."""
    import torch
    from torch.nn import functional

    images, weights = torch.randn(2, 64, 128, 128), torch.randn(64, 64, 3, 3)
    operations = 2 * images.shape[0] * 64 * 64 * 9 * 128 * 128
    functional.conv2d(images, weights, padding=1)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        functional.conv2d(images, weights, padding=1)
        done += 1
    return operations * done / (time.perf_counter() - started)


def explain(suite: Suite) -> str:
    """A few lines for people: the cost here, and how to run a small version."""
    import torch

    costs = training_costs(suite)
    total = sum(cost.peta for cost in costs)
    parts = ", ".join(f"{cost.name} {cost.peta:,.0f}" for cost in costs)
    lines = [f"{suite.name}: training is at least {total:,.0f} PFLOP ({parts})."]
    if torch.cuda.is_available():
        return lines[0]
    speed = cpu_speed()
    days = total * 1e15 / speed / 86_400
    lines.append(
        f"This machine has no GPU; at the {speed / 1e9:,.0f} GFLOP/s measured now on its CPU that "
        f"is at least {days:,.0f} days. It can be stopped at any moment and goes on from there."
    )
    lines.append(
        "To run it small: umbench run quick, or the same comparison with --set "
        "training.preset=small --set training.precision=no --set data.phantom.size=128 "
        "--set data.phantom.subjects=240 --set splits.train=120 --set splits.validation=60 "
        "--set splits.test=60 --set labelled=40 --set samples=60 "
        "--set 'panel.resolutions=[64,128]'"
    )
    return "\n".join(lines)
