"""Task networks: sex, age and source, trained on the set at hand, as extractors.

Each records what it was trained on and its held-out accuracy, so that a table can flag one that
is no better than chance and refuse one that saw what it scores. Paper, section IV.B.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from umbench_metrics.images import resize

if TYPE_CHECKING:
    from collections.abc import Sequence

INCEPTION_MINIMUM = 75
CHECKPOINT_SECONDS = 20.0
AGE_BOUNDS = (44, 64, 74)


def age_group(age: float) -> int:
    """Group 0 .. 3 of an age in years: (0, 44], (44, 64], (64, 74], (74, 100].

    >>> [age_group(a) for a in (44, 45, 74, 75)]
    [0, 1, 2, 3]
    """
    return sum(age > bound for bound in AGE_BOUNDS)


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
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.backbone = config.backbone
        self.accuracy, self.chance, self.n_held_out = float("nan"), 1 / classes, 0
        self.better_than_chance = False
        self.trained_on: tuple[str, ...] = ()

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
        device = next(self.parameters()).device
        with torch.inference_mode():
            return self.features(images.to(device))

    def logits(self, images: Tensor) -> Tensor:
        """Class scores (N, classes)."""
        scores: Tensor = self.head(self.features(images))
        return scores


def train_task(
    images: Tensor,
    targets: Tensor,
    classes: int,
    config: TaskConfig,
    *,
    held_out: tuple[Tensor, Tensor],
    trained_on: Sequence[str] = (),
    name: str = "task",
    folder: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> TaskNetwork:
    """Train on images (N, 1, H, W) in [0, 1] with targets (N,), -1 = unknown and left out.

    Crops, shifts, rotations and noise; batches balanced over classes. The randomness of step k
    follows from (config.seed, k), so that a run that goes on from `folder`'s checkpoint ends
    with the same weights as an undisturbed one. Accuracy is measured on `held_out`.
    """
    if len(targets) and int(targets.max()) >= classes:
        raise ValueError(f"{name}: target {int(targets.max())} with {classes} classes")
    known = targets >= 0
    images, targets = images[known], targets[known]
    if len(torch.unique(targets)) < 2:
        raise ValueError(f"{name}: training needs images of at least two classes")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # dropout draws from torch's global generator, so that one is seeded, and put back after
    with torch.random.fork_rng():
        network = _fit(images, targets, classes, config, name, folder, device, progress)
    network.trained_on = tuple(trained_on)
    _judge(network, *held_out)
    return network


def _fit(
    images: Tensor,
    targets: Tensor,
    classes: int,
    config: TaskConfig,
    name: str,
    folder: Path | None,
    device: torch.device,
    progress: Callable[[int, int, str], None] | None,
) -> TaskNetwork:
    """The training loop, from the checkpoint on where there is one."""
    torch.manual_seed(config.seed)
    network = TaskNetwork(name, classes, config).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=1e-2)
    rows = [torch.nonzero(targets == c).flatten() for c in range(classes)]
    rows = [r for r in rows if len(r)]
    start, saved = _restore(folder, network, optimizer), time.monotonic()
    network.train()
    for step in range(start, config.steps):
        torch.manual_seed(config.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _one_cycle(step / config.steps)
        turns = [rows[i % len(rows)] for i in range(config.batch)]  # classes take turns
        chosen = torch.stack([r[torch.randint(len(r), ())] for r in turns])
        batch = augment(images[chosen]).to(device)
        loss = functional.cross_entropy(
            network.logits(batch), targets[chosen].to(device), label_smoothing=0.05
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, config.steps, f"{name} network")
        if folder is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _checkpoint(folder, step + 1, network, optimizer)
            saved = time.monotonic()
    return network.eval()


def _one_cycle(part: float) -> float:
    """Learning rate factor: up over the first tenth, down to zero along a cosine."""
    return part / 0.1 if part < 0.1 else 0.5 * (1 + math.cos(math.pi * (part - 0.1) / 0.9))


def augment(images: Tensor) -> Tensor:
    """Crop, shift, rotate and add noise, each image its own way, from torch's generator."""
    count = len(images)
    angle = (torch.rand(count) - 0.5) * 0.3
    scale = 1 - 0.15 * torch.rand(count)
    shift = (torch.rand(count, 2) - 0.5) * 0.12
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    noise = torch.randn_like(moved) * (0.03 * torch.rand(count, 1, 1, 1))
    return (moved + noise).clamp(0, 1)


@torch.no_grad()
def _judge(network: TaskNetwork, images: Tensor, targets: Tensor) -> None:
    """Put the held-out record on the network."""
    known = targets >= 0
    images, targets = images[known], targets[known]
    if not len(images):
        return
    device = next(network.parameters()).device
    parts = [network.logits(part.to(device)).argmax(1).cpu() for part in images.split(32)]
    predicted = torch.cat(parts)
    network.accuracy = balanced_accuracy(predicted, targets)
    network.chance = 1 / len(torch.unique(targets))
    network.n_held_out = len(images)
    network.better_than_chance = beats_majority(predicted, targets)


def _checkpoint(folder: Path, step: int, network: nn.Module, optimizer: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "checkpoint.tmp"
    state = {"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, temporary)
    temporary.replace(folder / "checkpoint.pt")


def _restore(folder: Path | None, network: nn.Module, optimizer: Any) -> int:
    if folder is None or not (folder / "checkpoint.pt").exists():
        return 0
    state = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


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
