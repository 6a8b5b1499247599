"""The utility segmenter: a U-Net with four down-samplings (paper, sections III.C.3 and IV.B)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.training import Devices, Stateful, TrainingRun, batches, draw_batch, run_loop


@dataclass(frozen=True)
class SegmenterConfig:
    """features: channels of the five levels and the last one; steps: the same for every arm."""

    features: tuple[int, ...] = (32, 64, 128, 256, 512, 32)
    steps: int = 20_000
    batch: int = 16
    lr: float = 0.01
    momentum: float = 0.99


PRESETS: dict[str, SegmenterConfig] = {
    "quick": SegmenterConfig((8, 16, 32, 64, 96, 8), steps=90, batch=8, momentum=0.9, lr=0.05),
    "small": SegmenterConfig((12, 24, 48, 96, 128, 12), steps=150, batch=8, momentum=0.9, lr=0.05),
    "paper": SegmenterConfig(),
}


def preset(name: str, scale: float = 1.0) -> SegmenterConfig:
    """A preset's configuration; `scale` times its steps."""
    config = PRESETS[name]
    return replace(config, steps=max(1, round(config.steps * scale)))


def build_segmenter(classes: int, config: SegmenterConfig) -> nn.Module:
    """An untrained U-Net: (N, 1, H, W) in [0, 1] to logits (N, classes, H, W).

    Sides must be multiples of 16.
    """
    from monai.networks.nets import BasicUNet

    network: nn.Module = BasicUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=classes,
        features=config.features,
        norm=("instance", {"affine": True}),
    )
    return network


def train_segmenter(
    images: Tensor,
    masks: Tensor,
    classes: int,
    config: SegmenterConfig,
    run: TrainingRun,
    *,
    synthetic: tuple[Tensor, Tensor] | None = None,
) -> nn.Module:
    """Train on real pairs (N, 1, H, W), (N, H, W), and on synthetic ones where given.

    Every batch holds as many synthetic as real pairs where both are there, and the number of
    steps is the same, so that more data is not more training. Soft Dice + cross entropy; SGD
    with Nesterov momentum, a short warm-up and polynomial decay.
    """
    from monai.losses import DiceCELoss

    devices = Devices(run.precision)
    torch.manual_seed(run.seed)
    model = build_segmenter(classes, config).to(devices.device).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, nesterov=True, weight_decay=3e-5
    )
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True)

    def step(index: int) -> dict[str, Tensor]:
        rate = min((index + 1) / 20, 1.0) * (1 - index / config.steps) ** 0.9
        for group in optimizer.param_groups:
            group["lr"] = config.lr * rate
        x, y = _batch(images, masks, synthetic, config.batch, index, run.seed)
        x, y = augment(x, y)
        x, y = devices.shard(x).to(devices.device), devices.shard(y).to(devices.device)
        with devices.autocast():
            logits = model(x)
        loss = loss_function(logits.float(), y[:, None])
        devices.update(loss, optimizer, clip=12.0)
        return {"segmentation": loss.detach()}

    parts: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    run_loop(parts, config.steps, step, run, devices, label="segmenter")
    return model.eval()


def _batch(
    images: Tensor,
    masks: Tensor,
    synthetic: tuple[Tensor, Tensor] | None,
    size: int,
    index: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    if synthetic is None:
        rows = draw_batch(len(images), size, index, seed)
        return images[rows], masks[rows]
    half = size // 2
    rows = draw_batch(len(images), size - half, index, seed)
    drawn = draw_batch(len(synthetic[0]), half, index, seed + 1)
    return (
        torch.cat([images[rows], synthetic[0][drawn]]),
        torch.cat([masks[rows], synthetic[1][drawn]]),
    )


def augment(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Shift, scale and brighten, image by image; no flips, since left is not right in a chest."""
    count = len(images)
    scale = 1 + 0.2 * (torch.rand(count) - 0.5)
    shift = 0.12 * (torch.rand(count, 2) - 0.5)
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([scale, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    labels = functional.grid_sample(
        masks[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    gain = 1 + 0.2 * (torch.rand(count, 1, 1, 1) - 0.5)
    offset = 0.1 * (torch.rand(count, 1, 1, 1) - 0.5)
    return (moved * gain + offset).clamp(0, 1), labels[:, 0].round().long()


@torch.no_grad()
def segment(model: nn.Module, images: Tensor, batch: int = 16) -> Tensor:
    """Class maps (N, H, W) int64 of images (N, 1, H, W) in [0, 1]."""
    device = next(model.parameters()).device
    parts = [model(images[rows].to(device)).argmax(1).cpu() for rows in batches(len(images), batch)]
    return torch.cat(parts)
