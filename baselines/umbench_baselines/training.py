"""The training loop that every network shares: steps, checkpoints, averaging, devices.

Randomness is derived from the run's seed and the step number alone, so a training that was
killed and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from umbench_baselines.contracts import Budget

CHECKPOINT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


def _silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class TrainingRun:
    """Where and how one training runs.

    folder: checkpoints (and TensorBoard files where that extra is installed); survives a kill.
    budget: how long and how wide. seed: all randomness follows from it. precision: "no" or "bf16".
    checkpoint_seconds: least time between checkpoints; more where saving takes over a 20th of the
    time. preview_steps: steps between sample grids. progress: called as
    `progress(done, total, text)` after every step.
    """

    folder: Path
    seed: int = 0
    budget: Budget = field(default=Budget())
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

    Each process takes its share of the global batch (`shard`). Gradients are averaged over
    processes after each backward pass, which works for penalties that differentiate twice, where
    wrapped modules do not. So the number of processes does not change what is computed, but for
    what looks at several images at once: batch normalisation and the like see one share.
    """

    def __init__(self, precision: str = "no") -> None:
        from accelerate import Accelerator

        if precision not in ("no", "bf16"):
            raise ValueError(f'precision is {precision!r}; use "no" or "bf16"')
        self.precision = precision
        # Accelerate keeps one precision per process, and trainings may differ in theirs.
        self.accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
        self.weight = 1.0

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
        if self.precision == "no":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def shard(self, batch: Tensor) -> Tensor:
        """The part of a global batch (first axis) that this process works on.

        Until the next call, `mean` weighs what this process has by its part.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        rows, self.weight = share(len(batch), world, rank)
        return batch if world == 1 else batch[rows]

    @torch.no_grad()
    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Weighted means over processes, of float32 tensors that have the same shapes in all."""
        if self.accelerator.num_processes == 1 or not tensors:
            return list(tensors)
        # In one message: many small ones cost more than the work between them.
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        total = self.accelerator.reduce(flat * self.weight, "mean")
        parts = total.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def update(
        self, loss: Tensor, optimizer: torch.optim.Optimizer, *, clip: float | None = None
    ) -> None:
        """One optimiser step on `loss`; only the optimiser's parameters get gradients.

        Which of them the loss depends on must be the same in all processes. clip: largest norm
        of all gradients together.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, gradients, strict=True)
        used = [(parameter, found.detach()) for parameter, found in pairs if found is not None]
        means = self.mean([found for _, found in used])
        for (parameter, _), gradient in zip(used, means, strict=True):
            parameter.grad = gradient
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def share(count: int, world: int, rank: int) -> tuple[slice, float]:
    """The rows of a global batch that a process works on, and what they weigh.

    The mean over processes of weight times mean over rows is the mean over the batch. A share has
    two rows or more: statistics over one say nothing, and where two kinds of rows come in turn
    each share holds both. Where rows are too few for all, processes work on the same ones.

    >>> share(8, 2, 1)
    (slice(4, 8, None), 1.0)
    """
    shares = max(1, min(world, count // 2))
    mine = rank % shares
    start, stop = mine * count // shares, (mine + 1) * count // shares
    workers = len(range(mine, world, shares))
    return slice(start, stop), (stop - start) * world / (max(count, 1) * workers)


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
    """Write the state of all parts after `step` steps, at once or not at all.

    The one before is kept: should this one prove broken, training goes on from there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{CHECKPOINT}.part"
    state = {name: part.state_dict() for name, part in parts.items()}
    with temporary.open("wb") as file:
        torch.save({"step": step, "parts": state}, file)
        file.flush()
        os.fsync(file.fileno())
    if (folder / CHECKPOINT).exists():
        (folder / CHECKPOINT).replace(folder / PREVIOUS)
    temporary.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, parts: Mapping[str, Stateful]) -> int:
    """Restore all parts; the number of steps already done, 0 where there is no checkpoint.

    One that cannot be read, or is of other networks, is passed over with a warning: the one
    before serves then, or training begins anew.
    """
    for path in (folder / CHECKPOINT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            # Mapped: a checkpoint of the paper's size would take gigabytes in every process.
            # Parts take what they load to their device; what Adam keeps on the CPU stays there.
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            step, saved = int(state["step"]), state["parts"]
            _check_fit(saved, parts)
        except Exception as error:  # broken files raise almost anything
            reason = (str(error) or type(error).__name__).splitlines()[0]
            warnings.warn(f"{path}: passed over, it cannot be read ({reason})", stacklevel=2)
            continue
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        return step
    return 0


def _check_fit(saved: Mapping[str, Any], parts: Mapping[str, Stateful]) -> None:
    """ValueError where a checkpoint is not of these parts; nothing of them is touched."""
    for name, part in parts.items():
        mine, theirs = (_shapes(state) for state in (part.state_dict(), saved[name]))
        # an optimiser has no state before its first step
        if mine != theirs and not isinstance(part, torch.optim.Optimizer):
            raise ValueError(f"it is of other networks than {name}")


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: getattr(value, "shape", None) for key, value in state.items()}


class Interval:
    """When to save: at most a 20th of the time goes into it, by what saving was seen to cost."""

    def __init__(self, least_seconds: float) -> None:
        self.least, self.cost, self.last = least_seconds, 0.0, time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed since the last save; always where no least is set."""
        passed = time.monotonic() - self.last
        return self.least <= 0 or passed > max(self.least, 20 * self.cost)

    def save(self, save: Callable[[], None]) -> None:
        """Call `save` and learn what it costs."""
        started = time.monotonic()
        save()
        self.last = time.monotonic()
        self.cost = self.last - started


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
    start = load_checkpoint(run.folder, parts)
    # Nobody goes on, and writes the next checkpoint, while another one still reads this one.
    devices.accelerator.wait_for_everyone()
    statistics = _running_statistics(parts)
    writer = _writer(run.folder) if devices.main else None
    interval = Interval(run.checkpoint_seconds)
    for index in range(start, total):
        torch.manual_seed(step_seed(run.seed, index) + devices.accelerator.process_index)
        losses = step(index)
        for mine, mean in zip(statistics, devices.mean(statistics), strict=True):
            mine.copy_(mean)
        run.progress(index + 1, total, label)
        if writer is not None and index % 20 == 0:
            for name, value in losses.items():
                writer.add_scalar(name, float(value), index)
        if writer is not None and preview is not None and (index + 1) % run.preview_steps == 0:
            writer.add_image("samples", preview(), index + 1)
        if devices.main and interval.due():
            interval.save(partial(save_checkpoint, run.folder, index + 1, parts))
    if devices.main and total > start:
        save_checkpoint(run.folder, total, parts)
    if writer is not None:
        writer.close()


def _running_statistics(parts: Mapping[str, Stateful]) -> list[Tensor]:
    """What networks in training and their moving averages follow while they see batches.

    Processes see different shares, so theirs are averaged after each step.
    """
    found: list[Tensor] = []
    for part in parts.values():
        if isinstance(part, MovingAverage):
            found += part.module.buffers()
        elif isinstance(part, nn.Module) and part.training:
            found += part.buffers()
    return [tensor for tensor in found if tensor.is_floating_point()]


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
