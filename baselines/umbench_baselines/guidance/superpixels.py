"""Superpixels of grey images, per montage tile; algorithms by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from umbench_baselines.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from umbench_baselines.contracts import Part

COMPACTNESS = 40.0
"""What suites take by default; chosen by `benchmarks/superpixels.py`."""


class Superpixels(ABC):
    """An algorithm. Third parties register an object under the entry points `umbench.superpixels`.

    One that needs training names its network with `part`, and gets it, built and in evaluation
    mode, with each call.
    """

    name: str

    @abstractmethod
    def tile(
        self, image: np.ndarray, count: int, compactness: float, network: nn.Module | None
    ) -> np.ndarray:
        """Labels (h, w), non-negative integers, of one tile (h, w) float64 in [0, 255].

        count: how many to aim at. Called from several threads at once.
        """

    def part(self, count: int) -> Part | None:
        """The network to train on the images of train before any is segmented, if there is one.

        count: superpixels that will be asked for per tile.
        """
        return None

    def segment(
        self,
        image: np.ndarray,
        count: int,
        compactness: float,
        layout: tuple[int, int] | None = None,
        network: nn.Module | None = None,
    ) -> np.ndarray:
        """Labels (H, W) int32, from 0 without gaps, of one image (H, W) uint8 or in [0, 255].

        Each tile of `layout` (rows, columns) is segmented alone, with `count` superpixels asked
        for per tile: a segmentation across tile borders would mix slices. Paper, section III.A.
        ValueError for an image that the layout does not divide. Safe to call from several threads
        at once.
        """
        rows, columns = layout or (1, 1)
        if image.ndim != 2 or image.shape[0] % rows or image.shape[1] % columns:
            raise ValueError(
                f"an image of {image.shape} does not divide into {rows} x {columns} tiles"
            )
        height, width = image.shape[0] // rows, image.shape[1] // columns
        labels = np.empty(image.shape, dtype=np.int32)
        offset = 0
        for top in range(0, image.shape[0], height):
            for left in range(0, image.shape[1], width):
                window = np.s_[top : top + height, left : left + width]
                tile = np.ascontiguousarray(image[window], dtype=np.float64)
                made = self.tile(tile, count, compactness, network)
                names, found = np.unique(made, return_inverse=True)
                labels[window] = found.reshape(height, width) + offset
                offset += len(names)
        return labels


SEGMENTLESS = ("none",)
"""No superpixels: every pixel stands for itself, and the image is the guidance."""
ALGORITHMS: Registry[Superpixels] = Registry(
    noun="superpixel algorithm",
    group="umbench.superpixels",
    kind=Superpixels,  # type: ignore[type-abstract]
    built_in={"slic": "umbench_baselines.guidance.slic:SLIC"},
    reserved=dict.fromkeys(SEGMENTLESS, "guidance without superpixels"),
)


def needs_segmentation(algorithm: str) -> bool:
    """False where the guidance is made from the image itself; see `guidance_of`."""
    return algorithm not in SEGMENTLESS


def algorithm_names() -> list[str]:
    """All names that a suite may give, those of third parties included."""
    built_in, *plugged = ALGORITHMS.names()
    return [built_in, *SEGMENTLESS, *plugged]


def get(name: str) -> Superpixels:
    """The algorithm called `name`; ValueError names the nearest one."""
    if name in SEGMENTLESS:
        raise ValueError(f"{name!r} makes no superpixels: take the image itself as guidance")
    return ALGORITHMS.get(name)


def source(name: str) -> str:
    """The module whose source, with all that it imports, decides what an algorithm gives."""
    return ALGORITHMS.source(name)


def segment(
    image: np.ndarray,
    algorithm: str,
    count: int,
    compactness: float,
    layout: tuple[int, int] | None = None,
    network: nn.Module | None = None,
) -> np.ndarray:
    """As `Superpixels.segment` of the algorithm that has this name."""
    return get(algorithm).segment(image, count, compactness, layout, network)
