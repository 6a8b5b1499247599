"""Stage `extractor`: train a task network (sex, age or source) on the train split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.training import Devices, TrainingRun, run_loop
from umbench_metrics.degrade import Degraded
from umbench_metrics.extractors.age import age_group
from umbench_metrics.extractors.task import preset, save_task, train_task
from umbench_metrics.images import Images, Joined

from umbench.data.annotated_set import AnnotatedSet
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import SplitTable, load_json, load_set, load_split, pictures

if TYPE_CHECKING:
    from umbench.stages.values import TaskNetwork

Examples = tuple[Images, torch.Tensor]
"""Images and their class numbers (N,), -1 where unknown."""


class DeviceLoop(Devices):
    """The training loop of all networks, as a task network's training asks for it."""

    def __init__(self, training: TrainingRun) -> None:
        super().__init__(training.precision)
        self.training = training

    def run(
        self,
        parts: Mapping[str, Any],
        total: int,
        step: Callable[[int], Mapping[str, torch.Tensor | float]],
        label: str,
    ) -> None:
        """See `umbench_metrics.extractors.task.Loop`."""
        run_loop(parts, total, step, self.training, self, label=label)


def run(context: Context[TaskNetwork]) -> dict[str, float]:
    """Writes the network and what is known of it.

    A `source` network of fold k never sees synthetic images whose number modulo 2 is k, and no
    real image outside train, so that every image can be scored by a network that did not see it.
    """
    processes = device_processes()
    launch(train, (context.silent(),), processes, context.progress)
    record = load_json(context.output / "task.json")
    return {
        "held_out_accuracy": record["accuracy"],
        "n_held_out": record["n_held_out"],
        "processes": processes,
    }


def train(context: Context[TaskNetwork], progress: Progress) -> None:
    """What each process does; the main one writes the trained network."""
    stage = context.stage
    known, held_out, classes, seen = examples(context)
    if len(torch.unique(known[1][known[1] >= 0])) < 2:
        raise NotMeasuredError(
            f"extractor {stage.task}: the train split knows fewer than two classes; leave it "
            "out of panel.extractors"
        )
    run = TrainingRun(
        folder=context.scratch, budget=stage.budget, seed=stage.seed, precision=stage.precision,
        progress=progress,
    )  # fmt: skip
    loop = DeviceLoop(run)
    network = train_task(
        *known,
        classes,
        preset(stage.budget.preset, seed=stage.seed, scale=stage.budget.scale),
        loop=loop,
        held_out=held_out,
        trained_on=seen,
        name=stage.task,
    )
    if loop.main:
        save_task(network, context.output)


def examples(context: Context[TaskNetwork]) -> tuple[Examples, Examples, int, tuple[str, ...]]:
    """What a network is trained on and judged by, how many classes, and who was seen."""
    stage = context.stage
    data = load_set(context.folder(stage.real.data))
    table = load_split(context.folder(stage.real.split))
    if stage.fold is not None:
        known, held_out = source_examples(context, data, table)
        names = tuple(source.name for source in stage.told_apart)
        return known, held_out, len(names) + 1, ("real", *names)
    rows = table.rows("train")
    known = subject_examples(stage.task, data, rows)
    held_out = subject_examples(stage.task, data, table.rows("validation"))
    subjects = tuple(sorted(set(data.table["subject"].iloc[rows])))
    return known, held_out, 2 if stage.task == "sex" else 4, subjects


def subject_examples(task: str, data: AnnotatedSet, rows: np.ndarray) -> Examples:
    """Images with what is known of their subjects."""
    table = data.table.iloc[rows]
    if task == "sex":
        targets = [{"F": 0, "M": 1}.get(str(value), -1) for value in table["sex"]]
    else:
        targets = [-1 if np.isnan(age) else age_group(age) for age in table["age"].astype(float)]
    return pictures(data, rows), torch.tensor(targets)


def source_examples(
    context: Context[TaskNetwork], data: AnnotatedSet, table: SplitTable
) -> tuple[Examples, Examples]:
    """Train and held-out images with their source: 0 is real, then the others in order.

    The controls are sources too, on the same terms as the generators: an extractor that knew the
    generators alone would find fault with them and see nothing strange in damaged images. What is
    damaged are train images, so that no network sees a test image in any form.
    """
    real, held_real = (pictures(data, table.rows(split)) for split in ("train", "validation"))
    known: list[Images] = [real]
    held_out: list[Images] = [held_real]
    for source in context.stage.told_apart:
        if source.sets:
            sets = [load_set(context.folder(made)) for made in source.sets]
            outside, inside = _folds(sets, context.stage.fold or 0, context.stage.folds)
            known.append(outside)
            held_out.append(inside)
        else:
            known.append(Degraded(real, seed=1))
            held_out.append(Degraded(held_real, seed=2))
    return _labelled(known), _labelled(held_out)


def _labelled(parts: list[Images]) -> Examples:
    """All images, each with the number of its part."""
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Joined(tuple(parts)), torch.from_numpy(labels)


def _folds(sets: list[AnnotatedSet], fold: int, folds: int) -> tuple[Images, Images]:
    """A source's images outside and inside a fold; several sets may be one source."""
    outside, inside = [], []
    for made in sets:
        rows = np.arange(len(made))
        outside.append(pictures(made, rows[rows % folds != fold]))
        inside.append(pictures(made, rows[rows % folds == fold]))
    return Joined(tuple(outside)), Joined(tuple(inside))
