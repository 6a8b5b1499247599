"""Pixel classifiers on a StyleGAN's features, after datasetGAN (Zhang et al. 2021).

A handful of generated images is annotated; an ensemble of small networks learns each pixel's
class from the activations that drew it, and then annotates whatever the StyleGAN draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.stylegan import StyleGAN
from umbench_baselines.training import (
    Devices,
    Stateful,
    TrainingRun,
    deterministic,
    run_loop,
    step_seed,
)


@dataclass(frozen=True)
class PixelClassifierConfig:
    """Shape and training of the ensemble.

    annotated: number of generated images that get annotated. batch_pixels: pixels per step,
    the same for all members. psi: truncation of the annotated images. drop_quantile: share of
    the drawn images, the most uncertain ones, that `annotate` leaves out.
    """

    ensemble: int = 10
    hidden: tuple[int, int] = (128, 32)
    steps: int = 2000
    batch_pixels: int = 4096
    lr: float = 0.001
    annotated: int = 16
    psi: float = 0.7
    drop_quantile: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop_quantile < 1:
            raise ValueError(f"drop_quantile is {self.drop_quantile}; it must lie in [0, 1)")
        if min(self.ensemble, self.annotated, self.batch_pixels) < 1:
            raise ValueError("ensemble, annotated and batch_pixels must be at least 1")


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


class EnsembleLinear(nn.Module):
    """One linear layer per member, computed together."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(E, P, inputs) to (E, P, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleNorm(nn.BatchNorm1d):
    """Batch normalisation and ReLU of each member's features."""

    def __init__(self, members: int, features: int) -> None:
        super().__init__(members * features)

    def forward(self, x: Tensor) -> Tensor:
        """(E, P, F) to (E, P, F)."""
        members, _, features = x.shape
        flat = super().forward(x.transpose(0, 1).flatten(1))
        return functional.relu(flat).unflatten(1, (members, features)).transpose(0, 1)


class PixelClassifier(nn.Module):
    """Ensemble of networks (features, hidden, hidden, classes) on single pixels."""

    def __init__(self, features: int, classes: int, config: PixelClassifierConfig) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        wide, narrow = config.hidden
        self.first = EnsembleLinear(config.ensemble, features, wide)
        self.first_norm = EnsembleNorm(config.ensemble, wide)
        self.second = EnsembleLinear(config.ensemble, wide, narrow)
        self.second_norm = EnsembleNorm(config.ensemble, narrow)
        self.logits = EnsembleLinear(config.ensemble, narrow, classes)

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], classes: int, config: PixelClassifierConfig
    ) -> PixelClassifier:
        """Build from a `state_dict`, which tells the number of features; in eval mode."""
        model = cls(state["first.weight"].shape[1], classes, config)
        model.load_state_dict(dict(state))
        return model.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of pixels (P, D) to logits (E, P, classes)."""
        return self._rest(self.first(pixels.expand(self.config.ensemble, -1, -1)))

    def _rest(self, x: Tensor) -> Tensor:
        """What follows the first linear layer."""
        return self.logits(self.second_norm(self.second(self.first_norm(x))))

    @torch.no_grad()
    def probabilities(self, features: list[Tensor], size: int) -> Tensor:
        """Class probabilities (E, N, classes, size, size) of images by their activations.

        A linear layer and bilinear enlarging may change places, so the first layer is applied
        where the activations are small; only its results are enlarged.
        """
        weights = self.first.weight.split([f.shape[1] for f in features], dim=1)
        count, members = len(features[0]), self.config.ensemble
        hidden: Tensor | float = 0.0
        for side in sorted({f.shape[-1] for f in features}):
            level = sum(
                torch.einsum("ndhw,edk->nekhw", f, w)
                for f, w in zip(features, weights, strict=True)
                if f.shape[-1] == side
            )
            assert isinstance(level, Tensor)
            hidden = hidden + functional.interpolate(
                level.flatten(1, 2), (size, size), mode="bilinear"
            )
        assert isinstance(hidden, Tensor)
        rows = hidden.unflatten(1, (members, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)
        logits = self._rest(rows + self.first.bias)
        planes = logits.softmax(2).unflatten(1, (count, size, size))
        return planes.permute(0, 1, 4, 2, 3)


def sample_pixels(features: list[Tensor], size: int, rows: Tensor, pixels: Tensor) -> Tensor:
    """Activations (P, D) at pixels (P,) of images `rows` (P,), as `pixel_features` has them.

    pixels: y * size + x in an image of side `size`. Only these pixels are enlarged.
    """
    gathered = []
    for maps in features:
        side = maps.shape[-1]
        y0, y1, fy = _between(pixels // size, size, side)
        x0, x1, fx = _between(pixels % size, size, side)
        top = torch.lerp(maps[rows, :, y0, x0], maps[rows, :, y0, x1], fx)
        bottom = torch.lerp(maps[rows, :, y1, x0], maps[rows, :, y1, x1], fx)
        gathered.append(torch.lerp(top, bottom, fy))
    return torch.cat(gathered, 1)


def _between(position: Tensor, size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours on a coarse axis of positions on a fine one, and the second one's weight."""
    place = ((position + 0.5) * side / size - 0.5).clamp(0, side - 1)
    lower = place.floor().long()
    return lower, (lower + 1).clamp(max=side - 1), (place - lower)[:, None]


def train_pixel_classifier(
    gan: StyleGAN,
    annotator: Callable[[Tensor], Tensor],
    size: int,
    classes: int,
    config: PixelClassifierConfig,
    run: TrainingRun,
) -> PixelClassifier:
    """Train the ensemble on generated images; in eval mode.

    gan: draws one grey channel in [-1, 1] of side `size`. annotator: takes the images
    (A, 1, H, W) in [0, 1] that the run's seed draws and returns their masks (A, H, W) int64.
    ValueError where the masks do not fit.
    """
    devices = Devices(run.precision)
    gan = gan.to(devices.device).eval()
    images, features = gan.sample_features(config.annotated, run.seed, config.psi)
    masks = torch.as_tensor(annotator(_unit(images))).long().to(devices.device)
    if masks.shape != (config.annotated, size, size):
        raise ValueError(
            f"annotations have shape {tuple(masks.shape)}, expected {config.annotated} of "
            f"{size} x {size}"
        )
    if masks.min() < 0 or masks.max() >= classes:
        raise ValueError(f"annotations hold classes outside 0 .. {classes - 1}")
    with deterministic(run.seed):
        width = sum(f.shape[1] for f in features)
        model = PixelClassifier(width, classes, config).to(devices.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    flat = masks.flatten()

    def step(index: int) -> Mapping[str, Tensor | float]:
        source = torch.Generator().manual_seed(step_seed(run.seed + 1, index))
        chosen = torch.randint(len(flat), (config.batch_pixels,), generator=source)
        chosen = devices.shard(chosen).to(devices.device)
        rows, pixels = chosen // size**2, chosen % size**2
        with devices.autocast():
            logits = model(sample_pixels(features, size, rows, pixels))
        truth = flat[chosen].repeat(config.ensemble)
        # Each member has its own loss; the sum keeps their gradients apart.
        loss = config.ensemble * functional.cross_entropy(logits.float().flatten(0, 1), truth)
        devices.update(loss, optimizer)
        return {"cross entropy": loss.detach() / config.ensemble}

    parts: dict[str, Stateful] = {"classifier": model, "optimiser": optimizer}
    run_loop(parts, config.steps, step, run, devices, label="pixel classifier")
    return model.eval()


def annotate(
    gan: StyleGAN,
    classifier: PixelClassifier,
    count: int,
    seed: int,
    psi: float = 0.7,
    batch: int = 4,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw `count` annotated images, the most uncertain ones left out.

    count / (1 - drop_quantile) images are drawn and the most certain kept, in the order drawn.
    Returns images (count, 1, H, W) float32 in [0, 1], masks (count, H, W) int64 by majority
    vote and each image's uncertainty (count,), all on the CPU.
    """
    device = classifier.first.weight.device
    gan = gan.to(device).eval()
    drawn = math.ceil(count / (1 - classifier.config.drop_quantile) - 1e-9)
    images, masks, doubts = [], [], []
    for start in range(0, drawn, batch):
        part, features = gan.sample_features(min(batch, drawn - start), seed, psi, start)
        probabilities = classifier.probabilities(features, part.shape[-1])
        images.append(_unit(part))
        masks.append(majority(probabilities).cpu())
        doubts.append(divergence(probabilities).mean((1, 2)).cpu())
    if not images:
        side = gan.config.size
        return torch.empty(0, 1, side, side), torch.empty(0, side, side).long(), torch.empty(0)
    doubt = torch.cat(doubts)
    kept = doubt.argsort(stable=True)[:count].sort().values
    return torch.cat(images)[kept], torch.cat(masks)[kept], doubt[kept]


def majority(probabilities: Tensor) -> Tensor:
    """The class most members vote for, (E, N, C, H, W) to (N, H, W); ties to the lower class."""
    classes = probabilities.shape[2]
    votes = functional.one_hot(probabilities.argmax(2), classes).sum(0)
    return votes.argmax(-1)


def divergence(probabilities: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the ensemble, (E, N, C, H, W) to (N, H, W), in nats."""
    return (_entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)).clamp(min=0)


def _entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy over the third axis from the right."""
    return -torch.xlogy(probabilities, probabilities).sum(-3)


def _unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped."""
    return (images.clamp(-1, 1) + 1) / 2
