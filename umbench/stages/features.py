"""Stage `features`: one set through one extractor at every resolution of the panel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from umbench_baselines.contracts import Pictures
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.training import Devices
from umbench_metrics.extractors import load
from umbench_metrics.extractors.task import load_task
from umbench_metrics.features import extract

from umbench.data.rows import Rows, map_arrays, write_arrays
from umbench.pipeline import Context, Progress, Stage
from umbench.stages.artifacts import ARRAYS, load_set, load_split, pictures, save_json
from umbench.stages.extractor import FOLDS

CHUNK = 64  # images; whole batches, so that nothing depends on where a run was cut


def run(context: Context) -> dict[str, int]:
    """Params: extractor, input (or null), resolutions, count (null: all), reference (bool),
    split (or null).

    Writes `<resolution>/<fold>` (n, dim) float32 and `rows/<fold>`. A cross-fitted extractor has
    one network per fold: images that a network may have seen are scored by the other one; the
    reference, which no network saw, is scored by every one.
    """
    stage, inputs = context.stage, context.inputs
    folds = max(1, len(_trained(inputs)))
    images = chosen_images(stage.params, inputs)
    chunks = folds * -(-len(images) // CHUNK)
    processes = max(1, min(device_processes(), chunks))
    arguments = (stage, inputs, context.output, context.scratch)
    launch(make, arguments, processes, context.progress)
    arrays: dict[str, np.ndarray] = {}
    for fold in range(folds):
        arrays |= map_arrays(context.scratch / f"fold-{fold}.safetensors")
    write_arrays(context.output / ARRAYS, arrays)
    return {"processes": processes}


def make(
    stage: Stage, inputs: Mapping[str, Path], output: Path, scratch: Path, progress: Progress
) -> None:
    """What each process does: every so manieth chunk of every fold that is not there yet."""
    devices = Devices()
    place, world = devices.accelerator.process_index, devices.accelerator.num_processes
    networks, images = _networks(stage, inputs), chosen_images(stage.params, inputs)
    rows = fold_rows(len(images), len(networks), reference=stage.params["reference"])
    if devices.main:  # an empty folder is begun by one process alone
        _open(stage, scratch, networks, rows)
        save_json(output / "extractor.json", [_facts(network) for network in networks])
    devices.accelerator.wait_for_everyone()
    parts = _open(stage, scratch, networks, rows)
    for fold, part in enumerate(parts):
        # turned by one in every fold, so that odd chunks are not always the same one's
        for chunk in part.missing((place + fold) % world, world):
            mine = rows[fold][chunk]
            batch = images.batch(mine)
            part.put(
                chunk,
                **{f"rows/{fold}": mine},
                **{
                    f"{resolution}/{fold}": extract(networks[fold], batch, resolution)
                    for resolution in stage.params["resolutions"]
                },
            )
            left = sum(len(p.missing()) for p in parts)
            total = sum(len(p.chunks) for p in parts)
            progress(total - left, total, "features")


def chosen_images(params: Mapping[str, Any], inputs: Mapping[str, Path]) -> Pictures:
    """The first `count` images of the set, or of one of its splits."""
    data = load_set(inputs["images"])
    split = params["split"]
    rows = np.arange(len(data)) if split is None else load_split(inputs["split"]).rows(split)
    return pictures(data, rows[: params["count"]])


def fold_rows(count: int, networks: int, *, reference: bool) -> list[np.ndarray]:
    """Of `count` images, the numbers of those that each network scores."""
    rows = np.arange(count)
    if networks == 1 or reference:
        return [rows] * networks
    return [rows[rows % FOLDS == fold] for fold in range(networks)]


def _open(stage: Stage, scratch: Path, networks: list[Any], rows: list[np.ndarray]) -> list[Rows]:
    """The arrays of every fold as far as they are filled."""
    return [
        Rows(
            scratch,
            {
                f"rows/{fold}": ((len(rows[fold]),), np.dtype(np.int64)),
                **{
                    f"{resolution}/{fold}": ((len(rows[fold]), network.dim), np.dtype(np.float32))
                    for resolution in stage.params["resolutions"]
                },
            },
            CHUNK,
            name=f"fold-{fold}",
        )
        for fold, network in enumerate(networks)
    ]


def _trained(inputs: Mapping[str, Path]) -> list[str]:
    """Roles of the networks that were trained for this, one per fold, in order."""
    return sorted(role for role in inputs if role.startswith("network"))


def _networks(stage: Stage, inputs: Mapping[str, Path]) -> list[Any]:
    trained = _trained(inputs)
    if not trained:
        return [load(stage.params["extractor"], stage.params["input"])]
    return [load_task(inputs[role]) for role in trained]


def _facts(network: Any) -> dict[str, object]:
    flag = "" if getattr(network, "better_than_chance", True) else "no better than chance"
    return {
        "name": network.name,
        "input": getattr(network, "input", None),
        "backbone": getattr(network, "backbone", network.name),
        "dim": network.dim,
        "fingerprint": network.fingerprint,
        "accuracy": getattr(network, "accuracy", None),
        "n_held_out": getattr(network, "n_held_out", None),
        "chance": getattr(network, "chance", None),
        "trained_on": list(getattr(network, "trained_on", ())),
        "flag": flag,
    }
