"""Stage `extractor`: train a task network (sex, age or source) on the train split."""

from __future__ import annotations

import numpy as np
import torch
from umbench_metrics.degrade import degrade
from umbench_metrics.extractors.task import age_group, preset, save_task, train_task

from umbench.data.annotated_set import AnnotatedSet
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context
from umbench.stages.artifacts import SplitTable, image_tensor, load_set, load_split

FOLDS = 2


def run(context: Context) -> dict[str, float]:
    """Params: task, preset, seed and, for source, sources and fold.

    A `source` network of fold k never sees synthetic images whose number modulo 2 is k, and no
    real image outside train, so that every image can be scored by a network that did not see it.
    """
    params = context.stage.params
    data, table = load_set(context.inputs["data"]), load_split(context.inputs["split"])
    if params["task"] == "source":
        images, targets, held_images, held_targets, seen = source_task(context, data, table)
        classes = len(params["sources"]) + 1
    else:
        images, targets, seen = subject_task(params["task"], data, table.rows("train"))
        held_images, held_targets, _ = subject_task(params["task"], data, table.rows("validation"))
        classes = 2 if params["task"] == "sex" else 4
    if int((targets >= 0).sum()) < 2 or len(torch.unique(targets[targets >= 0])) < 2:
        raise NotMeasuredError(
            f"extractor {params['task']}: the train split knows fewer than two classes; leave it "
            "out of panel.extractors"
        )
    network = train_task(
        images,
        targets,
        classes,
        preset(params["preset"], seed=params["seed"], scale=params["scale"]),
        held_out=(held_images, held_targets),
        trained_on=seen,
        name=params["task"],
        folder=context.scratch,
        progress=context.progress,
    )
    save_task(network, context.output)
    return {"held_out_accuracy": network.accuracy, "n_held_out": network.n_held_out}


def subject_task(
    task: str, data: AnnotatedSet, rows: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Images, class numbers (-1 = unknown) and the subjects seen."""
    table = data.table.iloc[rows]
    if task == "sex":
        targets = [{"F": 0, "M": 1}.get(str(value), -1) for value in table["sex"]]
    else:
        targets = [-1 if np.isnan(age) else age_group(age) for age in table["age"].astype(float)]
    return image_tensor(data, rows), torch.tensor(targets), tuple(sorted(set(table["subject"])))


def source_task(
    context: Context, data: AnnotatedSet, table: SplitTable
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Train and held-out images with their source: 0 is real, then the others in order.

    The controls are sources too, on the same terms as the entries: an extractor that knew the
    entries alone would find fault with them and see nothing strange in damaged images. What is
    damaged are train images, so that no network sees a test image in any form.
    """
    params = context.stage.params
    real = [image_tensor(data, table.rows(split)) for split in ("train", "validation")]
    train, held = [real[0]], [real[1]]
    for source in params["sources"]:
        if source == "degraded":
            train.append(degrade(real[0], seed=1))
            held.append(degrade(real[1], seed=2))
            continue
        known, unseen = _folds(context, source, params["fold"])
        train.append(known)
        held.append(unseen)
    labels = [torch.full((len(part),), k) for k, part in enumerate(train)]
    held_labels = [torch.full((len(part),), k) for k, part in enumerate(held)]
    return (
        torch.cat(train),
        torch.cat(labels),
        torch.cat(held),
        torch.cat(held_labels),
        ("real", *params["sources"]),
    )


def _folds(context: Context, source: str, fold: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A source's images outside and inside a fold; several samples may be one source."""
    known, unseen = [], []
    for role in sorted(context.inputs):
        if role.startswith(f"samples {source}|"):
            images = image_tensor(load_set(context.inputs[role]))
            inside = np.arange(len(images)) % FOLDS == fold
            known.append(images[~inside])
            unseen.append(images[inside])
    return torch.cat(known), torch.cat(unseen)
