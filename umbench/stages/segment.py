"""Stage `segment`: the utility U-Net on real data, alone or with synthetic pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.segmenter import preset, segment, train_segmenter
from umbench_baselines.training import Devices, TrainingRun
from umbench_metrics.overlap import dice

from umbench.pipeline import Context, Progress, Stage
from umbench.stages.artifacts import (
    image_tensor,
    load_set,
    load_split,
    mask_tensor,
    save_model,
    save_table,
)


def run(context: Context) -> dict[str, Any]:
    """Params: preset, seed, method. Inputs: data, split and, for an augmented arm, synthetic."""
    processes = device_processes()
    arguments = (context.stage, context.inputs, context.output, context.scratch)
    launch(train, arguments, processes, context.progress)
    return {"processes": processes}


def train(
    stage: Stage, inputs: Mapping[str, Path], output: Path, scratch: Path, progress: Progress
) -> None:
    """What each process does; the main one writes the network and its scores on test."""
    params = stage.params
    data, table = load_set(inputs["data"]), load_split(inputs["split"])
    rows = table.labelled_rows()
    config = preset(params["preset"], params["scale"])
    synthetic = None
    if "synthetic" in inputs:
        generated = load_set(inputs["synthetic"])
        synthetic = (image_tensor(generated), mask_tensor(generated))
    training = TrainingRun(folder=scratch, seed=params["seed"], progress=progress)
    classes = len(data.info.classes)
    model = train_segmenter(
        image_tensor(data, rows),
        mask_tensor(data, rows),
        classes,
        config,
        training,
        synthetic=synthetic,
    )
    if not Devices().main:
        return
    save_model(output, model, {"preset": params["preset"], "classes": classes})
    test = table.rows("test")
    predicted = segment(model, image_tensor(data, test))
    save_table(
        output / "dice.csv",
        dice_table(data.info.classes, predicted, mask_tensor(data, test), data.table.iloc[test]),
    )


def dice_table(
    classes: dict[int, str], predicted: torch.Tensor, truth: torch.Tensor, table: pd.DataFrame
) -> pd.DataFrame:
    """One row per test image and foreground class: image, subject, region, value, empty."""
    scores = dice(predicted.numpy(), truth.numpy(), len(classes))
    parts = []
    for index, number in enumerate(sorted(classes)):
        if index == 0:
            continue
        in_truth = (truth == index).flatten(1).any(1).numpy()
        in_prediction = (predicted == index).flatten(1).any(1).numpy()
        empty = np.select(
            [~in_truth & ~in_prediction, ~in_truth, ~in_prediction],
            ["both", "truth", "prediction"],
            "",
        )
        parts.append(
            pd.DataFrame(
                {
                    "image": table["file_name"].to_numpy(),
                    "subject": table["subject"].to_numpy(),
                    "region": classes[number],
                    "value": np.asarray(scores.values)[:, index],
                    "empty": empty,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
