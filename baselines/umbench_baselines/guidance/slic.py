"""Simple linear iterative clustering (Achanta et al. 2010)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from umbench_baselines.guidance.superpixels import Superpixels

if TYPE_CHECKING:
    from torch import nn

FLAT = 1e-6
"""Grey levels. A tile that spans less has no edges to follow."""
SMALLEST = 0.25
"""Fragments below this share of a seed's area join a neighbour, as in Achanta's own code."""


class Slic(Superpixels):
    """SLIC on the scale 0 to 255.

    A pixel goes to the centre at the least sqrt(d_grey^2 + (d_xy / S)^2 * compactness^2), where
    S is the distance of neighbouring centres at the start: compactness is the step in grey levels
    that outweighs a way of S pixels, whatever range the image spans. Seeds stand on a grid of
    whole pixels, so that fewer or more superpixels may come back than were asked for.
    """

    name = "slic"

    def tile(
        self, image: np.ndarray, count: int, compactness: float, network: nn.Module | None
    ) -> np.ndarray:
        """As `Superpixels.tile`."""
        from skimage.segmentation import slic

        # scikit-image stretches every image to [0, 1] before it weighs distances; a compactness
        # stretched alike takes that back
        span = max(float(np.ptp(image)), FLAT)
        labels: np.ndarray = slic(
            image,
            n_segments=count,
            compactness=compactness / span,
            min_size_factor=SMALLEST,
            channel_axis=None,
            start_label=0,
        )
        return labels


SLIC = Slic()
