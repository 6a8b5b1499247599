"""Stage `train`: train one part of the benchmark's entries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umbench_baselines.launch import device_processes, launch
from umbench_baselines.parts import TrainPart, train_part
from umbench_baselines.training import Devices, TrainingRun

from umbench.pipeline import Context, Progress, Stage
from umbench.stages.artifacts import load_training_data, load_weights, save_model


def run(context: Context) -> dict[str, Any]:
    """Params: part, preset, seed, untrained, precision, t, options of the generator."""
    stage = context.stage
    # Every process makes the same initial network; one is enough where that is the result.
    processes = 1 if stage.params["untrained"] else device_processes()
    arguments = (stage, context.inputs, context.output, context.scratch)
    launch(train, arguments, processes, context.progress)
    return {"processes": processes}


def train(
    stage: Stage, inputs: Mapping[str, Path], output: Path, scratch: Path, progress: Progress
) -> None:
    """What each process does; the main one writes the trained part."""
    params = stage.params
    data, _, _ = load_training_data(
        inputs["data"], inputs["split"], inputs.get("guidance"), params["t"]
    )
    job = TrainPart(
        part=params["part"],
        preset=params["preset"],
        untrained=params["untrained"],
        options=params["options"],
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
        save_model(output, model, facts)
