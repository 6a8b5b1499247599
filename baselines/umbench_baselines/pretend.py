"""Run a network's step without its numbers: count operations, and the bytes alive at once.

Tensors are fake: they have shapes and types, but no values, so that a step of the paper's size
takes a second and no memory. The networks, losses and backward passes are the true ones.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Work:
    """operations: floating point operations. alive: bytes that the step's own tensors take at
    their peak, kept activations, gradients and passing results together.
    """

    operations: float
    alive: int


@contextlib.contextmanager
def pretending() -> Iterator[None]:
    """In this block tensors have no values; networks that were made before it may be used."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@contextlib.contextmanager
def shapes_alone() -> Iterator[None]:
    """As `pretending`, ten times as fast, but without mixed precision: to count operations.

    All networks must be made in such a block.
    """
    import torch

    with torch.device("meta"):
        yield


def work(step: Callable[[], object]) -> Work:
    """What calling `step` takes in one of these blocks; networks made before do not count."""
    counter = _counter()
    with counter:
        step()
    return Work(counter.operations, counter.peak)


def _counter() -> Any:
    """A mode that counts operations, by the formulas of torch's FlopCounterMode, and follows
    every storage from the operation that makes it to its end.

    That mode itself also follows modules, which some networks without gradients do not bear.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    shortcuts = _shortcuts()

    class Counter(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.operations, self.now, self.peak = 0.0, 0, 0
            self._known: weakref.WeakSet[Any] = weakref.WeakSet()

        def __torch_dispatch__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            formula = flop_registry.get(function._overloadpacket)
            if formula is None and function.namespace == "aten":
                # without gradients some operations come whole that are made of counted ones
                with self:
                    found = function.decompose(*args, **kwargs)
                if found is not NotImplemented:
                    return found
            short = shortcuts.get(function)
            found = function(*args, **kwargs) if short is None else short(*args, **kwargs)
            if formula is not None:
                self.operations += formula(*args, **kwargs, out_val=found)
            for value in tree_leaves(found):
                if isinstance(value, torch.Tensor):
                    self._follow(value.untyped_storage())
            return found

        def _follow(self, storage: Any) -> None:
            if storage in self._known:
                return
            self._known.add(storage)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, storage.nbytes())

        def _gone(self, size: int) -> None:
            self.now -= size

    return Counter()


def _shortcuts() -> dict[Any, Callable[..., Any]]:
    """What some frequent operations return, which torch otherwise works out in Python from many
    others: most of the time went there.
    """
    import torch

    aten = torch.ops.aten

    def elementwise(first: Any, *others: Any, **_: Any) -> Tensor:
        tensors = [value for value in (first, *others) if isinstance(value, torch.Tensor)]
        kinds = {tensor.dtype for tensor in tensors}
        kind = kinds.pop() if len(kinds) == 1 else torch.result_type(first, others[0])
        shape = tensors[0].shape
        if any(tensor.shape != shape for tensor in tensors):
            shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
        return torch.empty(shape, dtype=kind, device=first.device)

    def normalised(x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, ...]:
        return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)

    def back(gradient: Tensor, x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, ...]:
        return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)

    floats = (
        aten.mul.Tensor, aten.add.Tensor, aten.sub.Tensor, aten.leaky_relu.default,
        aten.leaky_relu_backward.default, aten.threshold_backward.default,
        aten.hardtanh_backward.default,
    )  # fmt: skip
    return {
        **dict.fromkeys(floats, elementwise),
        aten.native_batch_norm.default: normalised,
        aten.native_batch_norm_backward.default: back,
    }


def bytes_of(modules: Iterable[nn.Module]) -> int:
    """Of all parameters and buffers."""
    return sum(
        tensor.numel() * tensor.element_size()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    )


def autocast(precision: str) -> contextlib.AbstractContextManager[None]:
    """Types as a training in this precision has them."""
    import torch

    if precision == "no":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def update(loss: Tensor, module: nn.Module, gpus: int) -> None:
    """An optimiser's step as `umbench_baselines.training.Devices.update` takes it.

    Gradients of all parameters; on GPUs one more copy, which Adam needs on its way; and where
    there are several the gradients' mean, for which they are laid end to end and weighed.
    """
    import torch

    gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    if gpus > 1:
        flat = torch.cat([gradient.flatten() for gradient in found])
        found = [flat * 1.0]
    if gpus:
        _ = [gradient.sqrt() for gradient in found]


def inference(network: nn.Module, shape: tuple[int, ...]) -> Work:
    """One pass in single precision that nothing is kept of."""
    import torch

    def step() -> None:
        with torch.no_grad():
            network(torch.zeros(shape))

    return work(step)
