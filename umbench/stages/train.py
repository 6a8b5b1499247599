"""Stage `train`: train one part of the benchmark's entries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.parts import TrainPart, train_part
from umbench_baselines.training import Devices, TrainingRun

from umbench.pipeline import Context, Progress, Stage
from umbench.stages.artifacts import (
    MODEL_FACTS,
    label_maps,
    load_json,
    load_training_data,
    load_weights,
    save_model,
)

if TYPE_CHECKING:
    from umbench_baselines.contracts import LabelMaps, TrainingData

MEASURED = ("trusted_share", "trusted_right")


def run(context: Context) -> dict[str, Any]:
    """Params: part, preset, scale, seed, untrained, precision, t, options, perceptual."""
    stage = context.stage
    # Every process makes the same initial network; one is enough where that is the result.
    processes = 1 if stage.params["untrained"] else device_processes()
    arguments = (stage, context.inputs, context.output, context.scratch)
    launch(train, arguments, processes, context.progress)
    facts = load_json(context.output / MODEL_FACTS)
    return {"processes": processes, **{k: facts[k] for k in MEASURED if k in facts}}


def train(
    stage: Stage, inputs: Mapping[str, Path], output: Path, scratch: Path, progress: Progress
) -> None:
    """What each process does; the main one writes the trained part."""
    params = stage.params
    data, annotated, table = load_training_data(
        inputs["data"], inputs["split"], inputs.get("guidance"), params["t"]
    )
    perceptual = params.get("perceptual") or {}
    job = TrainPart(
        part=params["part"],
        preset=params["preset"],
        untrained=params["untrained"],
        options={**params["options"], **_perceptual(perceptual)},
        scale=params["scale"],
    )
    training = TrainingRun(
        folder=scratch, seed=params["seed"], precision=params["precision"], progress=progress
    )
    needs = {
        role: load_weights(inputs[role]) for role in ("g1-images", "segmenter") if role in inputs
    }
    model, facts = train_part(job, data, training, needs)
    if Devices().main:
        if "trusted_share" in facts:
            truth = label_maps(annotated, table.rows("train"))
            facts["trusted_right"] = trusted_right(scratch, data, truth)
        save_model(output, model, facts)


def _perceptual(resolved: Mapping[str, str]) -> dict[str, str]:
    if not resolved:
        return {}
    return {"perceptual": resolved["name"], "perceptual_sha256": resolved["sha256"]}


def trusted_right(scratch: Path, data: TrainingData, truth: LabelMaps) -> dict[str, float]:
    """How often trusted pixels of unlabelled images are right, per class and over all.

    The set knows the truth that the training did not see. Classes without trusted pixels are
    left out.
    """
    from umbench_baselines.translation import read_pseudo

    found = read_pseudo(scratch, data)
    if found is None:
        return {}
    rows, labels = found
    right, trusted = np.zeros(data.classes), np.zeros(data.classes)
    for row, label in zip(rows, labels, strict=True):
        seen = truth.batch([int(row)])[0].numpy()
        for c in range(data.classes):
            right[c] += np.sum((label == c) & (seen == c))
            trusted[c] += np.sum(label == c)
    shares = {str(c): float(right[c] / trusted[c]) for c in range(data.classes) if trusted[c]}
    return {**shares, "all": float(right.sum() / trusted.sum())} if trusted.any() else {}
