"""The training loop that every network shares: steps, checkpoints, averaging, devices.

Randomness is derived from the run's seed and the step number alone, so a training that was
killed and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

CHECKPOINT = "checkpoint.pt"


def _silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class TrainingRun:
    """Where and how one training runs.

    folder: checkpoints (and TensorBoard files where that extra is installed); survives a kill.
    seed: all randomness follows from it. precision: "no" or "bf16". checkpoint_seconds: time
    between checkpoints. preview_steps: steps between sample grids. progress: called as
    `progress(done, total, text)` after every step.
    """

    folder: Path
    seed: int = 0
    precision: str = "no"
    checkpoint_seconds: float = 20.0
    preview_steps: int = 200
    progress: Callable[[int, int, str], None] = field(default=_silent, compare=False)


class Stateful(Protocol):
    """Anything with a state that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Take the state back."""


class Devices:
    """One or several GPUs, or a CPU, through accelerate.

    Gradients are averaged over processes after each backward pass, which works for penalties
    that differentiate twice, where wrapped modules do not. Each process takes its share of
    the global batch (`shard`), so the number of devices does not change what is computed.
    """

    def __init__(self, precision: str = "no") -> None:
        from accelerate import Accelerator

        self.accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.accelerator.device

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.accelerator.is_main_process

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Mixed precision as the run asks for it."""
        return self.accelerator.autocast()

    def shard(self, batch: Tensor) -> Tensor:
        """The part of a global batch (first axis) that this process works on."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        return batch if world == 1 else batch.tensor_split(world)[rank]

    def update(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, *, clip: float | None = None
    ) -> None:
        """One optimiser step on `loss`; only the optimiser's parameters get gradients.

        clip: largest norm of all gradients together.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        several = self.accelerator.num_processes > 1
        found: Tensor | None
        for parameter, found in zip(parameters, gradients, strict=True):
            gradient = found
            if several:
                gradient = torch.zeros_like(parameter) if gradient is None else gradient
                gradient = self.accelerator.reduce(gradient, "mean")
            parameter.grad = None if gradient is None else gradient.detach()
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


class MovingAverage:
    """Exponential moving average of a module's weights; buffers are copied.

    `update(count)` weighs by images: after `half_life` images half of the old weights are left.
    """

    def __init__(self, module: nn.Module, half_life: float) -> None:
        self.source = module
        self.half_life = half_life
        self.module = copy.deepcopy(module).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, count: int) -> None:
        """Blend in the source's weights after a step over `count` images."""
        decay = 0.5 ** (count / max(self.half_life, 1e-8))
        for mine, theirs in zip(self.module.parameters(), self.source.parameters(), strict=True):
            mine.lerp_(theirs.detach().to(mine.dtype), 1 - decay)
        for kept, buffer in zip(self.module.buffers(), self.source.buffers(), strict=True):
            kept.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """State of the averaged module."""
        return self.module.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averaged module."""
        self.module.load_state_dict(state)


def step_seed(seed: int, step: int) -> int:
    """The seed of one step's randomness."""
    return (seed * 1_000_003 + step * 7_919 + 17) % (2**63 - 1)


def draw_batch(count: int, batch: int, step: int, seed: int) -> Tensor:
    """Row numbers of a step's batch: epochs of shuffled rows, a function of the step alone.

    >>> sorted(draw_batch(4, 4, 0, seed=1).tolist())
    [0, 1, 2, 3]
    """
    rows: list[int] = []
    position = step * batch
    while len(rows) < batch:
        epoch, offset = divmod(position + len(rows), count)
        order = torch.randperm(
            count, generator=torch.Generator().manual_seed(step_seed(seed, epoch))
        )
        rows += order[offset : offset + batch - len(rows)].tolist()
    return torch.tensor(rows)


def save_checkpoint(folder: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """Write the state of all parts after `step` steps, at once or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CHECKPOINT}.{os.getpid()}"
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"step": step, "parts": state}, temporary)
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, parts: Mapping[str, Stateful], device: torch.device) -> int:
    """Restore all parts; the number of steps already done, 0 where there is no checkpoint."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    state = torch.load(path, map_location=device, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    return int(state["step"])


def run_loop(
    parts: Mapping[str, Stateful],
    total: int,
    step: Callable[[int], Mapping[str, Tensor | float]],
    run: TrainingRun,
    devices: Devices,
    preview: Callable[[], Tensor] | None = None,
    label: str = "training",
) -> None:
    """Call `step(k)` for k = 0 .. total - 1, resuming, checkpointing and reporting.

    `step` returns named losses. All random numbers that it draws from torch's global
    generators follow from (run.seed, k). `preview` gives an image grid (3 or 1, H, W) in
    [0, 1] for TensorBoard. `total` = 0 leaves the parts as they were initialised.
    """
    start = load_checkpoint(run.folder, parts, devices.device)
    writer = _writer(run.folder) if devices.main else None
    saved = time.monotonic()
    for index in range(start, total):
        torch.manual_seed(step_seed(run.seed, index) + devices.accelerator.process_index)
        losses = step(index)
        run.progress(index + 1, total, label)
        if writer is not None and index % 20 == 0:
            for name, value in losses.items():
                writer.add_scalar(name, float(value), index)
        if writer is not None and preview is not None and (index + 1) % run.preview_steps == 0:
            writer.add_image("samples", preview(), index + 1)
        if devices.main and time.monotonic() - saved > run.checkpoint_seconds:
            save_checkpoint(run.folder, index + 1, parts)
            saved = time.monotonic()
    if devices.main and total > start:
        save_checkpoint(run.folder, total, parts)
    if writer is not None:
        writer.close()


def _writer(folder: Path) -> Any | None:
    """A TensorBoard writer where that extra is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch and ask for deterministic algorithms inside the block."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def batches(count: int, size: int) -> Iterable[slice]:
    """Slices that cover `count` rows in steps of `size`."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
