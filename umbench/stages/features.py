"""Stage `features`: one set through one extractor at every resolution of the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from umbench_baselines.contracts import Pictures
from umbench_baselines.launch import device_processes, launch
from umbench_baselines.training import Devices
from umbench_metrics.extractors import load
from umbench_metrics.extractors.task import load_task
from umbench_metrics.features import extract
from umbench_metrics.panel import ExtractorFacts

from umbench.data.rows import Rows, map_arrays, write_arrays
from umbench.pipeline import Context, Progress
from umbench.stages.artifacts import ARRAYS, FACTS, load_set, load_split, pictures, save_json

if TYPE_CHECKING:
    from umbench.stages.values import Extract

CHUNK = 64  # images; whole batches, so that nothing depends on where a run was cut


def run(context: Context[Extract]) -> dict[str, int]:
    """Writes `<resolution>/<fold>` (n, dim) float32 and `rows/<fold>`.

    A cross-fitted extractor has one network per fold: images that a network may have seen are
    scored by the other one; the reference, which no network saw, is scored by every one.
    """
    folds = max(1, len(context.stage.networks))
    chunks = folds * -(-len(chosen_images(context)) // CHUNK)
    processes = max(1, min(device_processes(), chunks))
    launch(make, (context.silent(),), processes, context.progress)
    arrays: dict[str, np.ndarray] = {}
    for fold in range(folds):
        arrays |= map_arrays(context.scratch / f"fold-{fold}.safetensors")
    write_arrays(context.output / ARRAYS, arrays)
    return {"processes": processes}


def make(context: Context[Extract], progress: Progress) -> None:
    """What each process does: every so manieth chunk of every fold that is not there yet."""
    stage, devices = context.stage, Devices()
    place, world = devices.accelerator.process_index, devices.accelerator.num_processes
    networks, images = _networks(context), chosen_images(context)
    rows = fold_rows(len(images), len(networks), reference=stage.reference)
    if devices.main:  # an empty folder is begun by one process alone
        _open(context, networks, rows)
        facts = [ExtractorFacts.of(network).document() for network in networks]
        save_json(context.output / FACTS, facts)
    devices.accelerator.wait_for_everyone()
    parts = _open(context, networks, rows)
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
                    for resolution in stage.resolutions
                },
            )
            left = sum(len(p.missing()) for p in parts)
            total = sum(len(p.chunks) for p in parts)
            progress(total - left, total, "features")


def chosen_images(context: Context[Extract]) -> Pictures:
    """The first `count` images of the set, or all of its test split."""
    stage = context.stage
    data = load_set(context.folder(stage.images))
    if stage.split is None:
        rows = np.arange(len(data))
    else:
        rows = load_split(context.folder(stage.split)).rows("test")
    return pictures(data, rows[: stage.count])


def fold_rows(count: int, networks: int, *, reference: bool) -> list[np.ndarray]:
    """Of `count` images, the numbers of those that each network scores."""
    rows = np.arange(count)
    if networks == 1 or reference:
        return [rows] * networks
    return [rows[rows % networks == fold] for fold in range(networks)]


def _open(context: Context[Extract], networks: list[Any], rows: list[np.ndarray]) -> list[Rows]:
    """The arrays of every fold as far as they are filled."""
    return [
        Rows(
            context.scratch,
            {
                f"rows/{fold}": ((len(rows[fold]),), np.dtype(np.int64)),
                **{
                    f"{resolution}/{fold}": ((len(rows[fold]), network.dim), np.dtype(np.float32))
                    for resolution in context.stage.resolutions
                },
            },
            CHUNK,
            name=f"fold-{fold}",
        )
        for fold, network in enumerate(networks)
    ]


def _networks(context: Context[Extract]) -> list[Any]:
    stage = context.stage
    if not stage.networks:
        return [load(stage.extractor, stage.input)]
    return [load_task(context.folder(network)) for network in stage.networks]
