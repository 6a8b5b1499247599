"""The ensemble of pixel classifiers on a StyleGAN's features (Zhang et al. 2021).

A pixel's features are the activations of all synthesis layers where it lies, enlarged (bilinear)
to the size that the StyleGAN works at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.datasetgan.config import PixelClassifierConfig


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
    def probabilities(self, features: Sequence[Tensor], size: int, rows: slice) -> Tensor:
        """Class probabilities (E, h, size, classes) of some rows of one image of side `size`.

        features: its activations, (1, D_l, R_l, R_l) each. A linear layer and bilinear enlarging
        may change places, so the first layer is applied where the activations are small, to the
        rows that matter; only its results are enlarged.
        """
        weights = self.first.weight.split([f.shape[1] for f in features], dim=1)
        hidden: Tensor | None = None
        for side in sorted({maps.shape[-1] for maps in features}):
            pairs = [
                (f[0], w) for f, w in zip(features, weights, strict=True) if f.shape[-1] == side
            ]
            maps, weight = [f for f, _ in pairs], torch.cat([w for _, w in pairs], 1)
            part = _strip(maps, weight, size, rows)
            hidden = part if hidden is None else hidden.add_(part)
        assert hidden is not None
        logits = self._rest(hidden.flatten(1, 2) + self.first.bias)
        return logits.float().softmax(2).unflatten(1, (-1, size))


def _strip(layers: Sequence[Tensor], weight: Tensor, size: int, rows: slice) -> Tensor:
    """A linear layer (E, D, K) on activations of one side, enlarged to some rows: (E, h, size, K).

    layers: (D_l, R, R) each, D in all. Only what the rows lie between is read.
    """
    side, device = layers[0].shape[-1], weight.device
    y0, y1, fy = between(torch.arange(rows.start, rows.stop, device=device), size, side)
    x0, x1, fx = between(torch.arange(size, device=device), size, side)
    first, last = int(y0[0]), int(y1[-1])
    seen = torch.cat([maps[:, first : last + 1] for maps in layers])
    level = (seen.flatten(1).T @ weight).unflatten(1, seen.shape[1:])
    if side == size:
        return level[:, y0 - first]
    tall = torch.lerp(level[:, y0 - first], level[:, y1 - first], fy[:, None])
    return torch.lerp(tall[:, :, x0], tall[:, :, x1], fx)


def sample_pixels(features: Sequence[Tensor], size: int, rows: Tensor, pixels: Tensor) -> Tensor:
    """Features (P, D) of pixels (P,) of images `rows` (P,).

    pixels: y * size + x in an image of side `size`. Only these pixels are enlarged.
    """
    gathered = []
    for maps in features:
        side = maps.shape[-1]
        y0, y1, fy = between(pixels // size, size, side)
        x0, x1, fx = between(pixels % size, size, side)
        top = torch.lerp(maps[rows, :, y0, x0], maps[rows, :, y0, x1], fx)
        bottom = torch.lerp(maps[rows, :, y1, x0], maps[rows, :, y1, x1], fx)
        gathered.append(torch.lerp(top, bottom, fy))
    return torch.cat(gathered, 1)


def between(position: Tensor, size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours on a coarse axis of positions on a fine one, and the second one's weight."""
    place = ((position + 0.5) * side / size - 0.5).clamp(0, side - 1)
    lower = place.floor().long()
    return lower, (lower + 1).clamp(max=side - 1), (place - lower)[:, None]
