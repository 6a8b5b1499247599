"""What the networks of the panel take: their own steps, run on tensors without values.

Those of generators and of the utility are counted beside the networks (`umbench_baselines`).
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from umbench_baselines.costs import ADAM, Place, Training
from umbench_baselines.pretend import (
    Work,
    autocast,
    bytes_of,
    pretending,
    shapes_alone,
    update,
    work,
)

if TYPE_CHECKING:
    from torch import nn

TASK_CLASSES = 4


def task_network(config: Any, size: int, judged: int, place: Place) -> Training:
    """A task network; config: `umbench_metrics.extractors.task.TaskConfig`; judged: held out."""
    trained, one = _task_network(config, size, place)
    return replace(trained, operations=trained.operations + one * judged)


@functools.lru_cache(maxsize=64)
def _task_network(config: Any, size: int, place: Place) -> tuple[Training, float]:
    """Its training, and the operations of one image that it is judged by.

    Counted with as many classes as ages have: the last layer is nothing beside the others.
    """
    import torch
    from torch.nn import functional
    from umbench_metrics.extractors.task import JUDGED_AT_ONCE, TaskNetwork, augment

    share = place.share(config.batch)
    network = TaskNetwork("task", TASK_CLASSES, config).train()
    with pretending():

        def step() -> None:
            batch = augment(torch.zeros(share, 1, size, size))
            with autocast(place.precision):
                logits = network.logits(batch)
            wanted = torch.zeros(share, dtype=torch.int64)
            update(functional.cross_entropy(logits.float(), wanted), network, place.gpus)

        seen = work(step)
        network.eval()
        shown = work(lambda: network(torch.zeros(JUDGED_AT_ONCE, 1, size, size)))
    size_of = bytes_of([network])
    operations = seen.operations * place.all(config.batch) * config.steps
    kept = size_of * (1 + ADAM)
    trained = Training(operations, kept, max(seen.alive, shown.alive), size_of, kept)
    return trained, shown.operations / JUDGED_AT_ONCE


@functools.lru_cache(maxsize=64)
def extracting(
    name: str, input: str | None, task: Any, size: int, resolution: int, batch: int
) -> tuple[Work, int, int]:
    """Features of a batch: the work, the bytes of the weights, and numbers per image.

    task: the configuration of the network of a task extractor, None for a published one.
    """
    import torch
    from umbench_metrics.extractors import load
    from umbench_metrics.extractors.task import TaskNetwork
    from umbench_metrics.images import resize

    published = load(name, input) if task is None else None
    with pretending() if task is None else shapes_alone():
        network: Any = published or TaskNetwork("task", TASK_CLASSES, task).eval()
        seen = work(lambda: network(resize(torch.zeros(batch, 1, size, size), resolution)))
    modules = [network] if isinstance(network, torch.nn.Module) else _modules(network)
    return seen, bytes_of(modules), int(network.dim)


def _modules(extractor: Any) -> list[nn.Module]:
    """The networks behind an extractor that is none itself."""
    import torch

    return [value for value in vars(extractor).values() if isinstance(value, torch.nn.Module)]
