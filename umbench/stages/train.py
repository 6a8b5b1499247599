"""Stage `train`: train one part of the benchmark's entries."""

from __future__ import annotations

from umbench_baselines.parts import TrainPart, train_part
from umbench_baselines.training import TrainingRun

from umbench.pipeline import Context
from umbench.stages.artifacts import load_training_data, load_weights, save_model


def run(context: Context) -> None:
    """Params: part, preset, seed, untrained, precision, t, options of the generator."""
    params = context.stage.params
    data, _, _ = load_training_data(
        context.inputs["data"], context.inputs["split"], context.inputs.get("guidance"), params["t"]
    )
    job = TrainPart(
        part=params["part"],
        preset=params["preset"],
        untrained=params["untrained"],
        options=params["options"],
        scale=params["scale"],
    )
    training = TrainingRun(
        folder=context.scratch,
        seed=params["seed"],
        precision=params["precision"],
        progress=context.progress,
    )
    needs = {
        role: load_weights(context.inputs[role])
        for role in ("g1-images", "segmenter")
        if role in context.inputs
    }
    model, facts = train_part(job, data, training, needs)
    save_model(context.output, model, facts)
