"""Stage `features`: one set through one extractor at every resolution of the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from umbench_metrics.extractors import load
from umbench_metrics.extractors.task import load_task
from umbench_metrics.features import extract

from umbench.pipeline import Context
from umbench.stages.artifacts import image_tensor, load_set, load_split, save_arrays, save_json
from umbench.stages.extractor import FOLDS

if TYPE_CHECKING:
    from torch import Tensor


def run(context: Context) -> None:
    """Params: extractor, resolutions, count (null: all), reference (bool), split (or null).

    Writes `<resolution>/<fold>` (n, dim) float32 and `rows/<fold>`. A cross-fitted extractor has
    one network per fold: images that a network may have seen are scored by the other one; the
    reference, which no network saw, is scored by every one.
    """
    params = context.stage.params
    images = _images(context)
    networks = _networks(context)
    arrays: dict[str, np.ndarray] = {}
    total = len(networks) * len(params["resolutions"])
    for fold, network in enumerate(networks):
        rows = np.arange(len(images))
        if len(networks) > 1 and not params["reference"]:
            rows = rows[rows % FOLDS == fold]
        arrays[f"rows/{fold}"] = rows
        for index, resolution in enumerate(params["resolutions"]):
            arrays[f"{resolution}/{fold}"] = extract(network, images[rows], resolution)
            context.progress(fold * len(params["resolutions"]) + index + 1, total, "features")
    save_arrays(context.output, **arrays)
    save_json(context.output / "extractor.json", [_facts(network) for network in networks])


def _images(context: Context) -> Tensor:
    params = context.stage.params
    data = load_set(context.inputs["images"])
    if params["split"] is None:
        return image_tensor(data)[: params["count"]]
    rows = load_split(context.inputs["split"]).rows(params["split"])
    return image_tensor(data, rows[: params["count"]])


def _networks(context: Context) -> list[Any]:
    trained = sorted(role for role in context.inputs if role.startswith("network"))
    if not trained:
        return [load(context.stage.params["extractor"])]
    return [load_task(context.inputs[role]) for role in trained]


def _facts(network: Any) -> dict[str, object]:
    flag = "" if getattr(network, "better_than_chance", True) else "no better than chance"
    return {
        "name": network.name,
        "backbone": getattr(network, "backbone", network.name),
        "dim": network.dim,
        "fingerprint": network.fingerprint,
        "accuracy": getattr(network, "accuracy", None),
        "n_held_out": getattr(network, "n_held_out", None),
        "chance": getattr(network, "chance", None),
        "trained_on": list(getattr(network, "trained_on", ())),
        "flag": flag,
    }
