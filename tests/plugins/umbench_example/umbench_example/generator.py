"""The generator `dreamer`: noise to a coarse image with its mask, by one network of its own.

Planning imports this module, so that torch is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from umbench_baselines.contracts import AnnotatedBatch, GeneratorOptions, Trained, TrainingData
from umbench_baselines.single import OneNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn
    from umbench_baselines.training import TrainingRun

NOISE, COARSE, BATCH = 16, 16, 8
STEPS = {"quick": 400, "small": 4_000, "paper": 40_000}


class DreamerOptions(GeneratorOptions):
    """What a suite may say, as in `{id: dreamer, width: 64}`."""

    width: Annotated[int, Field(ge=1, le=4096, description="units of the hidden layer")] = 32
    lr: Annotated[float, Field(gt=0, description="learning rate of RMSprop")] = 1e-3


class Dreamer(OneNetwork):
    """Learns, from labelled images, which noise to turn into which image."""

    name = "dreamer"
    summary = "noise to a coarse image and its mask"
    Options = DreamerOptions

    def network(self, facts: Mapping[str, Any], options: DreamerOptions) -> nn.Module:
        """Noise (N, NOISE) to (N, 1 + classes, side, side): an image, and a score per class."""
        from torch import nn

        channels = 1 + facts["classes"]
        return nn.Sequential(
            nn.Linear(NOISE, options.width),
            nn.ReLU(),
            nn.Linear(options.width, channels * COARSE**2),
            nn.Unflatten(1, (channels, COARSE, COARSE)),
            nn.Upsample(facts["side"], mode="bilinear"),
        )

    def train(self, data: TrainingData, run: TrainingRun, options: DreamerOptions) -> Trained:
        """Each labelled image has a noise of its own, from which the network is to draw it."""
        import torch
        from torch.nn import functional
        from umbench_baselines.training import Devices, draw_batch, run_loop

        known = data.take(data.labelled)
        facts = {"classes": data.classes, "side": data.images.size[0]}
        torch.manual_seed(run.seed)  # all randomness follows from the seed
        devices = Devices(run.precision)
        network = self.network(facts, options).to(devices.device).train()
        optimizer = torch.optim.RMSprop(network.parameters(), lr=options.lr)
        noise = torch.randn(len(known.images), NOISE)

        def step(index: int) -> dict[str, Tensor]:
            rows = devices.shard(draw_batch(len(known.images), BATCH, index, run.seed))
            made = network(noise[rows].to(devices.device))
            images, masks = known.images.batch(rows), known.masks.batch(rows)
            image_loss = functional.mse_loss(made[:, :1], images.to(made.device))
            mask_loss = functional.cross_entropy(made[:, 1:], masks.to(made.device))
            devices.update(image_loss + mask_loss, optimizer)
            return {"image": image_loss.detach(), "mask": mask_loss.detach()}

        steps = 0 if run.budget.untrained else round(STEPS[run.budget.preset] * run.budget.scale)
        # keeps checkpoints of both, and goes on from the last one after a kill
        both: dict[str, Any] = {"network": network, "optimizer": optimizer}
        run_loop(both, steps, step, run, devices, label=self.name)
        return Trained.of(network, facts)

    def sample(
        self, state: nn.Module, count: int, seed: int, conditions: Tensor | None, start: int = 0
    ) -> AnnotatedBatch:
        """Image i of a seed follows from (seed, i) alone, whatever it is drawn with."""
        import torch
        from umbench_baselines.training import step_seed

        device = next(state.parameters()).device
        noise = [
            torch.randn(NOISE, generator=torch.Generator().manual_seed(step_seed(seed, index)))
            for index in range(start, start + count)
        ]
        with torch.inference_mode():
            made = state(torch.stack(noise).to(device)).cpu()
        return AnnotatedBatch(images=made[:, :1].clamp(0, 1), masks=made[:, 1:].argmax(1))


DREAMER = Dreamer()
