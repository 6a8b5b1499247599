"""Pseudo-segmentations of unlabelled images: made once, kept in a file, read batch by batch.

The saved G2 segments, and a confidence map says which pixels are trusted (paper, section
III.B.2; Hung et al. 2018). The networks are frozen by then, so all this is constant. Of the
pixels that are given a class the most confident share is trusted (Zou et al. 2018): one threshold
for all classes would trust none of a rare one, or everything once a teacher knows its images by
heart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.contracts import TrainingData
from umbench_baselines.training import Devices, batches

LABELS, COUNTS = "pseudo.npy", "pseudo_counts.npy"
UNTRUSTED = 255

BINS = 1000
"""Steps of the confidence, where its quantiles are looked for."""

Teacher = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Rows of the data -> pseudo-segmentations (n, H, W) int64, and the confidence in them, (n, H, W)
in [0, 1]."""


def pseudo_rows(data: TrainingData) -> np.ndarray:
    """The rows of `data` that pseudo-segmentations are of, in their order."""
    rows: np.ndarray = np.flatnonzero(~np.asarray(data.labelled))
    return rows


def read_pseudo(folder: Path, data: TrainingData) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows of `data` and their pseudo-segmentations: (U,) and a map (U, H, W) uint8.

    A label is a class index, or 255 where it is not trusted. None where a training left none.
    """
    rows = pseudo_rows(data)
    labels = _mapped(folder / LABELS, (len(rows), *data.images.size))
    return None if labels is None else (rows, labels)


def make_pseudo(
    folder: Path,
    data: TrainingData,
    teacher: Teacher,
    *,
    share: float,
    least: float,
    batch: int,
    devices: Devices,
) -> None:
    """Write the files, each process its part of the batches; they are there once all are done.

    Trusted are, of the pixels that are given a class, the `share` with the highest confidence
    (all with the same confidence together), where it exceeds `least`.
    """
    rows = torch.from_numpy(pseudo_rows(data))
    world, rank = devices.accelerator.num_processes, devices.accelerator.process_index
    mine = list(batches(len(rows), batch))[rank::world]
    seen = torch.zeros(data.classes, BINS, dtype=torch.int64, device=devices.device)
    for chosen in mine:
        seen += histogram(*teacher(rows[chosen]), data.classes)
    floors = thresholds(devices.accelerator.reduce(seen, "sum"), share)
    parts: dict[str, tuple[np.dtype, tuple[int, ...]]] = {
        LABELS: (np.dtype(np.uint8), (len(rows), *data.images.size)),
        COUNTS: (np.dtype(np.int64), (len(rows), data.classes, 2)),
    }
    if devices.main:
        folder.mkdir(parents=True, exist_ok=True)
        for name, (kind, shape) in parts.items():
            (folder / name).unlink(missing_ok=True)
            np.lib.format.open_memmap(_partial(folder, name), "w+", kind, shape)
    devices.accelerator.wait_for_everyone()
    files = {name: np.lib.format.open_memmap(_partial(folder, name), "r+") for name in parts}
    for chosen in mine:
        found, confidence = teacher(rows[chosen])
        trusted = (bins(confidence) >= floors[found]) & (confidence > least)
        files[LABELS][chosen] = torch.where(trusted, found, UNTRUSTED).cpu().numpy()
        files[COUNTS][chosen] = _counts(found, trusted, data.classes).cpu().numpy()
    for file in files.values():
        file.flush()
    devices.accelerator.wait_for_everyone()
    if devices.main:
        for name in (COUNTS, LABELS):  # the labels last: they are what is believed
            _partial(folder, name).replace(folder / name)
    devices.accelerator.wait_for_everyone()


def bins(confidence: Tensor) -> Tensor:
    """Confidence in [0, 1] as steps 0 .. BINS - 1."""
    return (confidence.float() * BINS).long().clamp(0, BINS - 1)


def histogram(found: Tensor, confidence: Tensor, classes: int) -> Tensor:
    """Pixels per class and step of the confidence, (classes, BINS) int64."""
    places = found * BINS + bins(confidence)
    return torch.bincount(places.flatten(), minlength=classes * BINS).view(classes, BINS)


def thresholds(seen: Tensor, share: float) -> Tensor:
    """Per class the highest step at or above which lies at least `share` of its pixels.

    >>> thresholds(torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), 0.5).tolist()
    [2, 3]
    """
    above = seen.flip(1).cumsum(1).flip(1)
    enough = above >= share * above[:, :1]
    return enough.sum(1) - 1


def trusted_share(folder: Path, data: TrainingData) -> dict[str, float]:
    """Of the unlabelled pixels that the teacher gives a class: the share that is trusted.

    Keys are class indices, and "all". A class that the teacher gives to no pixel has 0.
    """
    counts = _mapped(folder / COUNTS, (int((~data.labelled).sum()), data.classes, 2))
    if counts is None:
        return {}
    given, trusted = counts.sum(0).T
    shares = {str(k): float(trusted[k] / max(given[k], 1)) for k in range(data.classes)}
    return shares | {"all": float(trusted.sum() / max(given.sum(), 1))}


def _counts(found: Tensor, trusted: Tensor, classes: int) -> Tensor:
    """Pixels per image and class (n, classes, 2): all of them, and the trusted ones."""
    one_hot = functional.one_hot(found, classes)
    return torch.stack([one_hot.sum((1, 2)), (one_hot * trusted[..., None]).sum((1, 2))], -1)


def _partial(folder: Path, name: str) -> Path:
    return folder / f"partial_{name}"


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """A finished file of that shape, else None."""
    if not path.is_file():
        return None
    values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return values if values.shape == shape else None
