"""G2 and its two discriminators (paper, sections III.B.2 and IV.B)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.contracts import one_hot
from umbench_baselines.resampling import DoublingConv
from umbench_baselines.training import batches
from umbench_baselines.translation.config import TranslationConfig


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, activation."""
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect"
            if kernel == 7 else "zeros", bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )  # fmt: skip


class Residual(nn.Module):
    """Two convolutions around an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _block(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions make of x."""
        return x + self.second(self.first(x))


class Translator(nn.Module):
    """G2: condition (N, K, H, W) in [0, 1] to an image, a segmentation, or both.

    Wang et al. 2018's global generator; sides must be multiples of 2^down.
    """

    def __init__(self, conditions: int, classes: int, config: TranslationConfig) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        widths = [min(config.width * 2**i, config.cap) for i in range(config.down + 1)]
        layers: list[nn.Module] = [_block(conditions, widths[0], 7)]
        layers += [_block(a, b, stride=2) for a, b in pairwise(widths)]
        layers += [Residual(widths[-1]) for _ in range(config.blocks)]
        for a, b in pairwise(widths[::-1]):
            layers += [DoublingConv(a, b), nn.BatchNorm2d(b), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.image_head = _head(widths[0], 1) if config.heads != "segmentation" else None
        self.mask_head = _head(widths[0], classes) if config.heads != "image" else None

    def forward(self, condition: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Image (N, 1, H, W) in [-1, 1] and logits (N, C, H, W); None where there is no head."""
        features = self.shared(condition * 2 - 1)
        if self.image_head is None:
            assert self.mask_head is not None
            return None, self.mask_head(features)
        if self.mask_head is None:
            return torch.tanh(self.image_head(features)), None
        # Both heads read the same pixels: as one convolution they cost what one of them does.
        heads = (self.image_head, self.mask_head)
        both = functional.conv2d(
            functional.pad(features, (3, 3, 3, 3), mode="reflect"),
            torch.cat([head.weight for head in heads]),
            torch.cat([head.bias for head in heads if head.bias is not None]),
        )
        return torch.tanh(both[:, :1]), both[:, 1:]

    @torch.no_grad()
    def translate(self, conditions: Tensor, batch: int = 8) -> tuple[Tensor | None, Tensor | None]:
        """Images (N, 1, H, W) in [0, 1] and class probabilities (N, C, H, W), on the CPU.

        None where there is no head. Any condition will do, an edited one too (paper, section V.C).
        """
        device = next(self.parameters()).device
        images, masks = [], []
        for rows in batches(len(conditions), batch):
            image, logits = self(conditions[rows].to(device))
            if image is not None:
                images.append((image.float().cpu() + 1) / 2)
            if logits is not None:
                masks.append(logits.float().softmax(1).cpu())
        return torch.cat(images) if images else None, torch.cat(masks) if masks else None


def _head(width: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(width, outputs, 7, padding=3, padding_mode="reflect")


class ImageDiscriminator(nn.Module):
    """D^I: PatchGAN of 70 x 70 px on image and condition, at one or several scales."""

    def __init__(self, channels: int, width: int, scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList([self._patch(channels, width) for _ in range(scales)])

    @staticmethod
    def _patch(channels: int, width: int) -> nn.Sequential:
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor, stride in ((2, 2), (4, 2), (8, 1)):
            inputs, outputs = width * factor // 2, width * factor
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2),
            ]
        return nn.Sequential(*layers, nn.Conv2d(width * 8, 1, 4, 1, 1))

    def forward(self, image: Tensor, condition: Tensor) -> list[Tensor]:
        """Scores per patch, one map per scale."""
        x = torch.cat([image, condition], 1)
        scores = []
        for index, network in enumerate(self.scales):
            scores.append(network(x if index == 0 else functional.avg_pool2d(x, 2**index)))
        return scores


class MaskDiscriminator(nn.Module):
    """D^S: per-pixel logits that a segmentation is right there (Hung et al. 2018).

    `down` halvings: five as published.
    """

    def __init__(self, classes: int, width: int, down: int = 5) -> None:
        super().__init__()
        widths = [classes, *(width * min(2**i, 8) for i in range(4))]
        strides = [2] * down + [1] * (5 - down)
        layers: list[nn.Module] = []
        for (a, b), stride in zip(pairwise(widths), strides, strict=False):
            layers += [_halving(a, b, stride), nn.LeakyReLU(0.2)]
        self.network = nn.Sequential(*layers, _halving(widths[-1], 1, strides[-1]))

    def forward(self, segmentation: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to logits (N, 1, H, W)."""
        return functional.interpolate(
            self.network(segmentation), size=segmentation.shape[-2:], mode="bilinear"
        )


def _halving(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """Of 4 x 4 px as published, or of 3 x 3 px where it does not halve."""
    return nn.Conv2d(inputs, outputs, 4 if stride == 2 else 3, stride, 1)


def likeliest(probabilities: Tensor) -> Tensor:
    """Probabilities (N, C, H, W) to class indices (N, H, W).

    With the classes of a pixel side by side in memory this takes a tenth of the time on a CPU.
    """
    return probabilities.to(memory_format=torch.channels_last).argmax(1)


def hardened(probabilities: Tensor) -> Tensor:
    """Probabilities (N, C, H, W) as one-hot; their gradient goes through as if they were not.

    So D^S cannot tell a prediction from the truth by its sharpness (straight-through estimator,
    Bengio et al. 2013).
    """
    hard = one_hot(likeliest(probabilities), probabilities.shape[1])
    return hard.to(probabilities.dtype) + (probabilities - probabilities.detach())
