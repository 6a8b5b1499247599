"""Task networks: sex, age and source, trained on the set at hand, as extractors.

Each records what it was trained on and its held-out accuracy, so that a table can flag one that
is no better than chance and refuse one that saw what it scores. Paper, section IV.B.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_metrics.extractors.inception_v3 import MINIMUM as INCEPTION_MINIMUM
from umbench_metrics.images import Images, resize

JUDGED_AT_ONCE = 16


@dataclass(frozen=True)
class TaskConfig:
    """backbone: `inception-v3` or `compact`; width: of the compact one's first block."""

    backbone: str = "inception-v3"
    width: int = 24
    steps: int = 4000
    batch: int = 16
    lr: float = 1e-3
    seed: int = 0


PRESETS: dict[str, Callable[..., TaskConfig]] = {
    "quick": partial(TaskConfig, backbone="compact", width=16, steps=200, batch=24, lr=3e-3),
    "small": partial(TaskConfig, backbone="inception-v3", steps=120, batch=12),
    "paper": partial(TaskConfig, backbone="inception-v3", steps=20_000, batch=16),
}


def preset(name: str, *, seed: int, scale: float = 1.0) -> TaskConfig:
    """A preset's configuration; `scale` times its steps. ValueError for an unknown name."""
    if name not in PRESETS:
        raise ValueError(f"no preset called {name!r}; there are {', '.join(PRESETS)}")
    steps = PRESETS[name]().steps
    return PRESETS[name](seed=seed, steps=max(1, round(steps * scale)))


def balanced_accuracy(predicted: Tensor, targets: Tensor) -> float:
    """Mean recall over the classes that occur in `targets` (N,); NaN where there are none.

    >>> balanced_accuracy(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 0]))
    0.75
    """
    right = (predicted == targets).double()
    recalls = [right[targets == c].mean() for c in torch.unique(targets)]
    return float(torch.stack(recalls).mean()) if recalls else float("nan")


def beats_majority(predicted: Tensor, targets: Tensor, level: float = 0.05) -> bool:
    """Whether more of `predicted` (N,) are right than always naming the largest class would give.

    Exact one-sided binomial test at `level` against the majority's share; conservative where
    classes are unequal, since training is balanced over them.
    """
    from scipy.stats import binomtest

    if not len(targets):
        return False
    share = float(torch.bincount(targets).max()) / len(targets)
    hits = int((predicted == targets).sum())
    return bool(binomtest(hits, len(targets), share, alternative="greater").pvalue < level)


def _compact(width: int, classes: int) -> tuple[nn.Module, nn.Module, int]:
    channels = [1, width, 2 * width, 4 * width, 4 * width, 6 * width]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    dim = channels[-1]
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return body, nn.Linear(dim, classes), dim


def _inception(classes: int) -> tuple[nn.Module, nn.Module, int]:
    from torchvision.models import inception_v3

    # batch normalisation follows every layer, so plain initial weights do as well, and are quick
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.Conv2d_1a_3x3.conv = nn.Conv2d(1, 32, kernel_size=3, stride=2, bias=False)
    dim = network.fc.in_features
    network.fc = nn.Identity()
    return network, nn.Linear(dim, classes), dim


class TaskNetwork(nn.Module):
    """A classifier whose pooled features are an extractor; see `Extractor`.

    accuracy: balanced accuracy on `n_held_out` held-out images; chance: of guessing (1 / classes
    seen there). better_than_chance: see `beats_majority`. trained_on: subjects or sources it saw.
    Inputs below 75 px are resized to 75 where the backbone is `inception-v3`.
    """

    def __init__(self, name: str, classes: int, config: TaskConfig) -> None:
        super().__init__()
        self.name, self.classes, self.config = name, classes, config
        if config.backbone not in ("compact", "inception-v3"):
            raise ValueError(f"no backbone {config.backbone!r}; there are compact, inception-v3")
        body, head, dim = (
            _compact(config.width, classes) if config.backbone == "compact" else _inception(classes)
        )
        self.body, self.head, self.dim = body, head, dim
        self.to(memory_format=torch.channels_last)
        self.backbone = config.backbone
        self.accuracy, self.chance, self.n_held_out = float("nan"), 1 / classes, 0
        self.better_than_chance = False
        self.trained_on: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights and preprocessing."""
        digest = hashlib.sha256(f"{self.backbone}|2x - 1|native size|float32".encode())
        for name, value in self.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def features(self, images: Tensor) -> Tensor:
        """Pooled features (N, dim) of images (N, 1, H, W) in [0, 1], gradients kept."""
        if self.backbone == "inception-v3" and min(images.shape[-2:]) < INCEPTION_MINIMUM:
            images = resize(images, INCEPTION_MINIMUM)
        inputs = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
        pooled: Tensor = self.body(inputs)
        return pooled

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, dim), without gradients, in evaluation mode."""
        with torch.inference_mode():
            return self.features(images.to(self.device))

    def logits(self, images: Tensor) -> Tensor:
        """Class scores (N, classes)."""
        scores: Tensor = self.head(self.features(images))
        return scores


class Loop(Protocol):
    """Where and how a network is trained: the devices, and the loop over steps.

    `run` calls `step(k)` for every k below `total`, resumes, keeps checkpoints of `parts` and
    reports under `label`. It seeds torch's generators so that what step k draws follows from
    (seed, k, process) alone.
    """

    @property
    def device(self) -> torch.device:
        """The device of this process."""

    def shard(self, batch: Tensor) -> Tensor:
        """The part of a global batch (first axis) that this process works on."""

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision, where it is asked for."""

    def update(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, *, clip: float | None = None
    ) -> None:
        """One optimiser step on the mean of the loss over processes."""

    def run(
        self,
        parts: Mapping[str, Any],
        total: int,
        step: Callable[[int], Mapping[str, Tensor | float]],
        label: str,
    ) -> None:
        """All steps; `step` returns named losses."""


def train_task(
    images: Images,
    targets: Tensor,
    classes: int,
    config: TaskConfig,
    *,
    loop: Loop,
    held_out: tuple[Images, Tensor],
    trained_on: Sequence[str] = (),
    name: str = "task",
) -> TaskNetwork:
    """Train on images with targets (N,), -1 = unknown and left out; only batches are ever read.

    Crops, shifts, rotations and noise; batches balanced over classes. Which rows step k sees
    follows from (config.seed, k) in every process, which takes its share of them. Accuracy is
    measured on `held_out`. ValueError where fewer than two classes are known.
    """
    if len(targets) and int(targets.max()) >= classes:
        raise ValueError(f"{name}: target {int(targets.max())} with {classes} classes")
    groups = [torch.nonzero(targets == c).flatten().numpy() for c in range(classes)]
    groups = [rows for rows in groups if len(rows)]
    if len(groups) < 2:
        raise ValueError(f"{name}: training needs images of at least two classes")
    # weights, augmentation and dropout draw from torch's global generators, put back after
    with torch.random.fork_rng([loop.device] if loop.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        network = TaskNetwork(name, classes, config).to(loop.device)
        _fit(network, images, targets, groups, loop)
    network.trained_on = tuple(trained_on)
    _judge(network, *held_out)
    return network


def _fit(
    network: TaskNetwork, images: Images, targets: Tensor, groups: Sequence[np.ndarray], loop: Loop
) -> None:
    """Train the network in place and leave it in evaluation mode."""
    config = network.config
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=1e-2)

    def step(number: int) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _one_cycle(number / config.steps)
        rows = loop.shard(balanced_rows(groups, config.batch, config.seed, number))
        batch = augment(images.batch(rows.numpy()).to(loop.device))
        with loop.autocast():
            logits = network.logits(batch)
        wanted = targets[rows].to(loop.device)
        loss = functional.cross_entropy(logits.float(), wanted, label_smoothing=0.05)
        loop.update(loss, optimizer)
        return {"loss": loss.detach()}

    network.train()
    parts = {"network": network, "optimizer": optimizer}
    loop.run(parts, config.steps, step, f"{network.name} network")
    network.eval()


def balanced_rows(groups: Sequence[np.ndarray], count: int, seed: int, step: int) -> Tensor:
    """Row numbers (count,) of a step's batch: the groups take turns, each gives any of its rows.

    >>> balanced_rows([np.array([4]), np.array([7])], 3, seed=0, step=0)
    tensor([4, 7, 4])
    """
    generator = np.random.default_rng((seed, step))
    turns = [groups[place % len(groups)] for place in range(count)]
    return torch.tensor([int(generator.choice(rows)) for rows in turns])


def _one_cycle(part: float) -> float:
    """Learning rate factor: up over the first tenth, down to zero along a cosine."""
    return part / 0.1 if part < 0.1 else 0.5 * (1 + math.cos(math.pi * (part - 0.1) / 0.9))


def augment(images: Tensor) -> Tensor:
    """Crop, shift, rotate and add noise, each image its own way, from torch's generator."""
    count, device = len(images), images.device
    angle = (torch.rand(count, device=device) - 0.5) * 0.3
    scale = 1 - 0.15 * torch.rand(count, device=device)
    shift = (torch.rand(count, 2, device=device) - 0.5) * 0.12
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    noise = torch.randn_like(moved) * (0.03 * torch.rand(count, 1, 1, 1, device=device))
    return (moved + noise).clamp(0, 1)


@torch.no_grad()
def _judge(network: TaskNetwork, images: Images, targets: Tensor) -> None:
    """Put the held-out record on the network, which sees batch after batch."""
    rows = torch.nonzero(targets >= 0).flatten()
    if not len(rows):
        return
    predicted = torch.cat(
        [
            network.logits(images.batch(part.numpy()).to(network.device)).argmax(1).cpu()
            for part in torch.split(rows, JUDGED_AT_ONCE)
        ]
    )
    targets = targets[rows]
    network.accuracy = balanced_accuracy(predicted, targets)
    network.chance = 1 / len(torch.unique(targets))
    network.n_held_out = len(rows)
    network.better_than_chance = beats_majority(predicted, targets)


def save_task(network: TaskNetwork, folder: Path) -> None:
    """Write weights as safetensors and the record as JSON."""
    from safetensors.torch import save_file

    state = {k: v.cpu().contiguous() for k, v in network.state_dict().items()}
    save_file(state, folder / "task.safetensors")
    record = {
        "name": network.name,
        "classes": network.classes,
        "config": asdict(network.config),
        "accuracy": network.accuracy,
        "chance": network.chance,
        "n_held_out": network.n_held_out,
        "better_than_chance": network.better_than_chance,
        "trained_on": list(network.trained_on),
    }
    (folder / "task.json").write_text(json.dumps(record, indent=1, sort_keys=True))


def load_task(folder: Path) -> TaskNetwork:
    """Read what `save_task` wrote, on the device at hand, in evaluation mode."""
    from safetensors.torch import load_file

    record = json.loads((folder / "task.json").read_text())
    network = TaskNetwork(record["name"], record["classes"], TaskConfig(**record["config"]))
    network.load_state_dict(load_file(folder / "task.safetensors"))
    for key in ("accuracy", "chance", "n_held_out", "better_than_chance"):
        setattr(network, key, record[key])
    network.trained_on = tuple(record["trained_on"])
    return network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
