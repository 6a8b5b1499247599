"""G2 and its two discriminators (paper, sections III.B.2 and IV.B)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.resampling import DoublingConv
from umbench_baselines.training import batches


@dataclass(frozen=True)
class TranslationConfig:
    """Widths, schedule and loss weights of G2.

    width doubles with each of `down` halvings up to `cap`. steps_supervised: labelled rows alone
    (stage a); steps_semi: all rows, with pseudo-segmentations where the confidence exceeds
    `confidence` (stage b; Hung et al. 2018). paired: false drops the perceptual loss and hides
    the condition from the image discriminator. segmentation: false makes images alone (M2I).
    ema_images: half-life of the generator's moving average, in images.
    """

    width: int = 64
    cap: int = 1024
    down: int = 4
    blocks: int = 9
    disc_width: int = 64
    disc_scales: int = 1
    steps_supervised: int = 0
    steps_semi: int = 0
    batch: int = 4
    lr: float = 2e-4
    weight_image: float = 1.0
    weight_perceptual: float = 10.0
    weight_mask_adversarial: float = 0.01
    weight_mask: float = 1.0
    gan: str = "lsgan"
    confidence: float = 0.2
    paired: bool = True
    perceptual: str = "auto"
    segmentation: bool = True
    ema_images: float = 500.0

    def __post_init__(self) -> None:
        if self.gan not in ("lsgan", "hinge"):
            raise ValueError(f"gan must be lsgan or hinge, not {self.gan!r}")


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
    """G2: condition (N, K, H, W) in [0, 1] to an image and, where asked for, a segmentation.

    Wang et al. 2018's global generator; sides must be multiples of 2^down.
    """

    def __init__(self, conditions: int, classes: int, config: TranslationConfig) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.perceptual_name = "none"
        widths = [min(config.width * 2**i, config.cap) for i in range(config.down + 1)]
        layers: list[nn.Module] = [_block(conditions, widths[0], 7)]
        layers += [_block(a, b, stride=2) for a, b in pairwise(widths)]
        layers += [Residual(widths[-1]) for _ in range(config.blocks)]
        for a, b in pairwise(widths[::-1]):
            layers += [DoublingConv(a, b), nn.BatchNorm2d(b), nn.ReLU()]
        self.shared = nn.Sequential(*layers)
        self.image_head = nn.Conv2d(widths[0], 1, 7, padding=3, padding_mode="reflect")
        self.mask_head = (
            nn.Conv2d(widths[0], classes, 7, padding=3, padding_mode="reflect")
            if config.segmentation
            else None
        )

    def forward(self, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """Image (N, 1, H, W) in [-1, 1] and logits (N, C, H, W) or None."""
        features = self.shared(condition * 2 - 1)
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
    def translate(self, conditions: Tensor, batch: int = 8) -> tuple[Tensor, Tensor | None]:
        """Images (N, 1, H, W) in [0, 1] and class probabilities (N, C, H, W) or None, on the CPU.

        Any condition will do, an edited one too (paper, section V.C).
        """
        device = next(self.parameters()).device
        images, masks = [], []
        for rows in batches(len(conditions), batch):
            image, logits = self(conditions[rows].to(device))
            images.append((image.float().cpu() + 1) / 2)
            if logits is not None:
                masks.append(logits.float().softmax(1).cpu())
        return torch.cat(images), torch.cat(masks) if masks else None


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
    """D^S: per-pixel logits that class probabilities are the truth (Hung et al. 2018)."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        widths = [classes, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.network = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 2, 1))

    def forward(self, probabilities: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to logits (N, 1, H, W)."""
        return functional.interpolate(
            self.network(probabilities), size=probabilities.shape[-2:], mode="bilinear"
        )
