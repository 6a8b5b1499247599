"""Stage `train`: train one part of the benchmark's generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from umbench_baselines.contracts import Trained
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.training import Devices, TrainingRun

from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import (
    MODEL_FACTS,
    label_maps,
    load_json,
    load_set,
    load_split,
    load_trained,
    load_training_data,
    save_trained,
)

if TYPE_CHECKING:
    from umbench_baselines.contracts import LabelMaps

    from umbench.stages.values import Train

MEASURED = ("trusted_share", "trusted_right")
"""Facts of a training that stand in environment.json."""


def run(context: Context[Train]) -> dict[str, Any]:
    """Writes the network; measured: what the part says of its training."""
    stage = context.stage
    # Every process makes the same initial network; one is enough where that is the result.
    processes = 1 if stage.budget.untrained else device_processes()
    launch(train, (context.silent(),), processes, context.progress)
    facts = load_json(context.output / MODEL_FACTS)
    return {"processes": processes, **{k: facts[k] for k in MEASURED if k in facts}}


def train(context: Context[Train], progress: Progress) -> None:
    """What each process does; the main one writes the trained part."""
    stage = context.stage
    annotated = load_set(context.folder(stage.real.data))
    table = load_split(context.folder(stage.real.split))
    guidance, t = None, 0
    if stage.guidance is not None:
        guidance, t = context.folder(stage.guidance), stage.guidance.t
    data = load_training_data(annotated, table, guidance, t)
    needs = {need.part.name: load_trained(context.folder(need)) for need in stage.needs}
    if stage.segmenter is not None:
        needs["segmenter"] = load_trained(context.folder(stage.segmenter))
    run = TrainingRun(
        folder=context.scratch, budget=stage.budget, seed=stage.seed, precision=stage.precision,
        progress=progress,
    )  # fmt: skip
    trained = stage.part.train(data, run, needs)
    if Devices().main:
        facts = dict(trained.facts)
        guessed = stage.part.guessed(context.scratch, data)
        if guessed is not None:
            truth = label_maps(annotated, table.rows("train"))
            facts["trusted_right"] = trusted_right(*guessed, truth, data.classes)
        save_trained(context.output, Trained(trained.weights, facts))


def trusted_right(
    rows: np.ndarray, guessed: np.ndarray, truth: LabelMaps, classes: int
) -> dict[str, float]:
    """How often guesses on unlabelled images are right, per class and over all.

    rows, guessed: as `Part.guessed` gives them. The set knows the truth that the training did not
    see. Classes without guesses are left out.
    """
    right, trusted = np.zeros(classes), np.zeros(classes)
    for row, label in zip(rows, guessed, strict=True):
        seen = truth.batch([int(row)])[0].numpy()
        for c in range(classes):
            right[c] += np.sum((label == c) & (seen == c))
            trusted[c] += np.sum(label == c)
    shares = {str(c): float(right[c] / trusted[c]) for c in range(classes) if trusted[c]}
    return {**shares, "all": float(right.sum() / trusted.sum())} if trusted.any() else {}
