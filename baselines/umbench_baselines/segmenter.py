"""The utility segmenter: a U-Net with four down-samplings (paper, sections III.C.3 and IV.B)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_baselines.contracts import LabelMaps, Pictures, Trained
from umbench_baselines.training import Devices, Stateful, TrainingRun, batches, draw_batch, run_loop


@dataclass(frozen=True)
class SegmenterConfig:
    """The network and its training; both are the same for every arm of a comparison.

    features: channels of the five levels and the last one. stride: it looks at means over
    `stride` x `stride` px. momentum: of SGD (Nesterov); None for AdamW. share: largest part of
    the training images seen that is synthetic (`synthetic_share`).
    """

    features: tuple[int, ...] = (32, 64, 128, 256, 512, 32)
    stride: int = 1
    steps: int = 20_000
    batch: int = 16
    lr: float = 0.01
    momentum: float | None = 0.99
    warm_up: int = 20
    share: float = 0.5


# The small ones have seconds: at half the resolution a step costs a quarter, and AdamW is further
# after as many of them than SGD. docs/presets.md has the measurements.
PRESETS: dict[str, SegmenterConfig] = {
    "quick": SegmenterConfig(
        (8, 16, 32, 64, 64, 8), stride=2, steps=600, batch=2, lr=0.01, momentum=None
    ),
    "small": SegmenterConfig(
        (12, 24, 48, 96, 128, 12), stride=2, steps=900, batch=4, lr=0.01, momentum=None
    ),
    "paper": SegmenterConfig(),
}


def preset(name: str, scale: float = 1.0) -> SegmenterConfig:
    """A preset's configuration; `scale` times its steps."""
    config = PRESETS[name]
    return replace(config, steps=max(1, round(config.steps * scale)))


@dataclass(frozen=True)
class Pairs:
    """Images with their label maps, N of each, as they are stored. ValueError where N differs."""

    images: Pictures
    masks: LabelMaps

    def __post_init__(self) -> None:
        if len(self.images) != len(self.masks):
            raise ValueError(f"{len(self.images)} images cannot pair {len(self.masks)} masks")

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images (n, 1, H, W) float32 in [0, 1] and class indices (n, H, W) int64."""
        return self.images.batch(rows), self.masks.batch(rows)


def build_segmenter(classes: int, config: SegmenterConfig) -> nn.Module:
    """An untrained U-Net: (N, 1, H, W) in [0, 1] to logits (N, classes, H, W)."""
    return Segmenter(classes, config)


def trained_segmenter(model: nn.Module, preset: str, classes: int) -> Trained:
    """A segmenter of a preset at rest."""
    return Trained.of(model, {"preset": preset, "classes": classes})


def segmenter_of(trained: Trained) -> nn.Module:
    """The network that `trained_segmenter` laid to rest, in evaluation mode."""
    facts = trained.facts
    return trained.into(build_segmenter(facts["classes"], PRESETS[facts["preset"]]))


class Segmenter(nn.Module):
    """A U-Net that may work at a part of its images' resolution.

    Sides must be multiples of 16, and 32 at least; below 32 px times its stride an image is
    taken as it is, since instance normalisation needs more than one position at the lowest level.
    """

    def __init__(self, classes: int, config: SegmenterConfig) -> None:
        super().__init__()
        from monai.networks.nets import BasicUNet

        self.stride = config.stride
        self.network = BasicUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=classes,
            features=config.features,
            norm=("instance", {"affine": True}),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, H, W) in [0, 1] to logits (N, classes, H, W)."""
        if self.stride == 1 or min(images.shape[-2:]) < 32 * self.stride:
            found: Tensor = self.network(images)
            return found
        coarse = self.network(functional.avg_pool2d(images, self.stride))
        return functional.interpolate(coarse, size=images.shape[-2:], mode="bilinear")


def train_segmenter(
    pairs: Pairs,
    classes: int,
    config: SegmenterConfig,
    run: TrainingRun,
    *,
    synthetic: Pairs | None = None,
) -> nn.Module:
    """Train on real pairs, and on synthetic ones where given.

    The number of steps is the same either way, so that more data is not more training. Soft Dice
    over the batch + cross entropy, in float32; a short warm-up and polynomial decay. Each process
    reads its share of a batch alone and augments it on its device. ValueError where real and
    synthetic images differ in size.
    """
    from monai.losses import DiceCELoss

    if synthetic is not None and synthetic.images.size != pairs.images.size:
        raise ValueError(
            f"synthetic images are {synthetic.images.size} px, real ones {pairs.images.size}; "
            "resize them to the same size"
        )
    devices = Devices(run.precision)
    torch.manual_seed(run.seed)
    model = build_segmenter(classes, config).to(devices.device).train()
    optimizer = _optimizer(model, config)
    # Over the batch: image by image, one without lesions wishes for none and nothing else.
    loss_function = DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    parts = [pairs] if synthetic is None else [pairs, synthetic]
    share = synthetic_share(len(pairs), 0 if synthetic is None else len(synthetic), config.share)

    def step(index: int) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _rate(index, config)
        drawn = draw_mixture([len(part) for part in parts], share, config.batch, index, run.seed)
        x, y = _read(parts, devices.shard(drawn), devices.device)
        x, y = augment(x, y)
        with devices.autocast():
            logits = model(x)
        loss = loss_function(logits.float(), y[:, None])
        devices.update(loss, optimizer, clip=12.0)
        return {"segmentation": loss.detach()}

    kept: dict[str, Stateful] = {"model": model, "optimizer": optimizer}
    run_loop(kept, config.steps, step, run, devices, label="segmenter")
    return model.eval()


def _optimizer(model: nn.Module, config: SegmenterConfig) -> torch.optim.Optimizer:
    if config.momentum is None:
        return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=1e-4)
    return torch.optim.SGD(
        model.parameters(), lr=config.lr, momentum=config.momentum, nesterov=True, weight_decay=3e-5
    )


def _rate(index: int, config: SegmenterConfig) -> float:
    """The learning rate of a step over the largest one: a linear warm-up, polynomial decay."""
    return min((index + 1) / config.warm_up, 1.0) * (1 - index / config.steps) ** 0.9


def synthetic_share(real: int, synthetic: int, most: float) -> float:
    """Part of the training images seen that is synthetic: their part of all, `most` at most.

    >>> synthetic_share(40, 10, most=0.5), synthetic_share(40, 1000, most=0.5)
    (0.2, 0.5)
    """
    return min(most, synthetic / (real + synthetic))


def draw_mixture(counts: list[int], share: float, batch: int, step: int, seed: int) -> Tensor:
    """A step's batch (batch, 2) int64: which of the parts, and which of its rows.

    `share` of all rows drawn since the first step come from the second part, as evenly spread as
    can be, so that each process' share of a batch holds both. A part's rows come in shuffled
    epochs of their own.
    """
    drawn = []
    for position in range(step * batch, (step + 1) * batch):
        before, after = int(position * share), int((position + 1) * share)
        part = after - before
        turn = before if part else position - before
        row = int(draw_batch(counts[part], 1, turn, seed + part))
        drawn.append((part, row))
    return torch.tensor(drawn)


def _read(parts: list[Pairs], drawn: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """The images and class maps of rows that `draw_mixture` drew, part by part."""
    found = [
        part.batch(drawn[drawn[:, 0] == number, 1])
        for number, part in enumerate(parts)
        if (drawn[:, 0] == number).any()
    ]
    images, masks = (torch.cat(side).to(device) for side in zip(*found, strict=True))
    return images, masks


def augment(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Shift, scale and brighten, image by image; no flips, since left is not right in a chest."""
    count, device = len(images), images.device
    # Drawn on the CPU: the same numbers on every device.
    scale = 1 + 0.2 * (torch.rand(count) - 0.5)
    shift = 0.12 * (torch.rand(count, 2) - 0.5)
    gain = 1 + 0.2 * (torch.rand(count, 1, 1, 1) - 0.5)
    offset = 0.1 * (torch.rand(count, 1, 1, 1) - 0.5)
    zero = torch.zeros(count)
    theta = torch.stack(
        [torch.stack([scale, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1
    ).to(device)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    labels = functional.grid_sample(
        masks[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    lit = moved * gain.to(device) + offset.to(device)
    return lit.clamp(0, 1), labels[:, 0].round().long()


@torch.no_grad()
def segment(model: nn.Module, images: Pictures | Tensor, batch: int = 8) -> Iterator[Tensor]:
    """Class maps (n, H, W) uint8 on the model's device, batch by batch, in order.

    images: N pictures, or (N, 1, H, W) float32 in [0, 1].
    """
    device = next(model.parameters()).device
    for rows in batches(len(images), batch):
        drawn = images[rows] if isinstance(images, Tensor) else images.batch(rows)
        yield model(drawn.to(device)).argmax(1).to(torch.uint8)
