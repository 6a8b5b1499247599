"""The phantom as an annotated set of montages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from umbench.data.montage import montage_slices, tile
from umbench.data.phantom.subjects import Subject, make_subject
from umbench.data.phantom.volume import grow_tree, lung_shares, make_slice

if TYPE_CHECKING:
    from umbench.data.annotated_set import AnnotatedSet
    from umbench.data.set_info import SetInfo

WINDOW = (-1500.0, 100.0)
CLASSES = {0: "background", 1: "lung", 2: "lesion"}
SLICES = 64


def make_phantom_set(
    subjects: int,
    size: int,
    seed: int,
    montages: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> AnnotatedSet:
    """Montages of side `size` px (2 x 2 tiles), `montages` per subject, 8 bit, HU [-1500, 100].

    Adding subjects changes none that were there. Only the slices that a montage takes are drawn.
    """
    from umbench.data.annotated_set import AnnotatedSet

    drawn = []
    for number in range(subjects):
        drawn.append(draw_subject(number, size, seed, montages))
        if progress is not None:
            progress(number + 1, subjects, "subjects")
    images, masks = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    info, table = describe_phantom_set(subjects, seed, montages)
    return AnnotatedSet(info, images, masks, table)


def describe_phantom_set(
    subjects: int, seed: int, montages: int = 1
) -> tuple[SetInfo, pd.DataFrame]:
    """All of the set but its pictures."""
    from umbench.data.annotated_set import Encoding, SetInfo

    people = [make_subject(number, seed) for number in range(subjects)]
    rows = [
        _row(subject, subject.number * montages + k) for subject in people for k in range(montages)
    ]
    info = SetInfo(
        name=f"phantom (seed {seed})",
        encoding=Encoding(8, WINDOW, "HU"),
        classes=CLASSES,
        layout=(2, 2),
        spacing=None,
        provenance={"made by": "umbench phantom", "seed": seed, "subjects": subjects},
    )
    return info, pd.DataFrame(rows)


def draw_subject(
    number: int, size: int, seed: int, montages: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """One subject's montages and their masks, both (montages, size, size) uint8."""
    subject = make_subject(number, seed)
    tree, shares = grow_tree(subject), lung_shares(subject, SLICES)
    made = [_montage(subject, size, tree, shares, index) for index in range(montages)]
    images, masks = (np.stack(parts) for parts in zip(*made, strict=True))
    return images, masks


def _montage(
    subject: Subject, size: int, tree: np.ndarray, shares: np.ndarray, index: int
) -> tuple[np.ndarray, np.ndarray]:
    chosen = montage_slices(shares, subject.generator(17, index))
    hu, classes = [], []
    for k in chosen:
        image, lung, ggo, consolidation = make_slice(
            subject, size // 2, (k + 0.5) / SLICES, tree, int(k)
        )
        hu.append(image)
        classes.append(np.where(ggo | consolidation, 2, lung.astype(int)))
    low, high = WINDOW
    unit = (np.clip(tile(np.stack(hu)), low, high) - low) / (high - low)
    return np.round(unit * 255).astype(np.uint8), tile(np.stack(classes)).astype(np.uint8)


def _row(subject: Subject, number: int) -> dict[str, object]:
    return {
        "file_name": f"images/{number:05d}.png",
        "mask_file_name": f"masks/{number:05d}.png",
        "subject": f"P{subject.number:05d}",
        "split": "",
        "sex": subject.sex,
        "age": subject.age,
        "lesion": subject.pattern,
        "fov": subject.fov,
        "kernel": subject.kernel,
    }
