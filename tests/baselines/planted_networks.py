"""What a third party brings: a generator and superpixels with networks of their own.

Copied into a distribution of its own by the fixture `planted`; nothing imports it from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from umbench_baselines.contracts import (
    AnnotatedBatch,
    GeneratorOptions,
    Part,
    Trained,
    TrainingData,
)
from umbench_baselines.guidance.superpixels import Superpixels
from umbench_baselines.single import OneNetwork
from umbench_baselines.training import Devices, TrainingRun, draw_batch, run_loop, step_seed


class Decoder(nn.Module):
    """Noise to an image and class scores."""

    def __init__(self, width: int, classes: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.first, self.second = nn.Linear(8, width), nn.Linear(width, (1 + classes) * size**2)

    def forward(self, noise: Tensor) -> Tensor:
        made = self.second(self.first(noise).relu())
        return made.unflatten(1, (-1, self.size, self.size))


class Options(GeneratorOptions):
    width: int = 4


class Planted(OneNetwork):
    name = "planted"
    summary = "noise to the mean image"
    Options = Options

    def train(self, data: TrainingData, run: TrainingRun, options: Options) -> Trained:
        facts = {"classes": data.classes, "size": data.images.size[0]}
        torch.manual_seed(run.seed)
        devices = Devices(run.precision)
        model = self.network(facts, options).to(devices.device).train()
        optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
        known = data.take(data.labelled)

        def step(index: int) -> dict[str, Tensor]:
            rows = devices.shard(draw_batch(len(known.images), 4, index, run.seed))
            made = model(torch.randn(len(rows), 8))
            loss = (made[:, 0] - known.images.batch(rows)[:, 0]).square().mean()
            loss = loss + functional.cross_entropy(made[:, 1:], known.masks.batch(rows))
            devices.update(loss, optimizer)
            return {"loss": loss.detach()}

        steps = 0 if run.budget.untrained else round(20 * run.budget.scale)
        run_loop({"model": model, "optimizer": optimizer}, steps, step, run, devices)
        return Trained.of(model, facts)

    def network(self, facts: Mapping[str, Any], options: Options) -> Decoder:
        return Decoder(options.width, facts["classes"], facts["size"])

    @torch.no_grad()
    def sample(
        self, state: Decoder, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        drawn = []
        for index in range(start, start + count):
            noise = torch.Generator().manual_seed(step_seed(seed, index))
            drawn.append(state(torch.randn(1, 8, generator=noise)))
        made = torch.cat(drawn)
        return AnnotatedBatch(made[:, :1].clamp(0, 1), made[:, 1:].argmax(1))


@dataclass(frozen=True)
class Threshold(Part):
    """Learns the mean grey value of the images of train."""

    count: int

    @property
    def name(self) -> str:
        return "threshold"

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        model = nn.Linear(1, 1)
        with torch.no_grad():
            model.bias.fill_(data.images.batch(slice(None)).mean())
        return Trained.of(model, {})

    def build(self, trained: Trained) -> nn.Linear:
        return trained.into(nn.Linear(1, 1))


class Learnt(Superpixels):
    """Two: what is darker than the images of train, and what is not."""

    name = "learnt"

    def part(self, count: int) -> Part:
        return Threshold(count)

    def tile(
        self, image: np.ndarray, count: int, compactness: float, network: nn.Module | None
    ) -> np.ndarray:
        assert isinstance(network, nn.Linear)
        return (image > 255 * network.bias.item()).astype(int)


PLANTED, LEARNT = Planted(), Learnt()
