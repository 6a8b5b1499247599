"""The superpixel algorithm `watershed`: flooding of the gradient from a grid of markers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from umbench_baselines.guidance.superpixels import Superpixels

if TYPE_CHECKING:
    from torch import nn


class Watershed(Superpixels):
    """Watershed of the gradient (Beucher and Lantuéjoul 1979), as scikit-image has it."""

    name = "watershed"

    def tile(
        self, image: np.ndarray, count: int, compactness: float, network: nn.Module | None
    ) -> np.ndarray:
        """Labels (h, w) of one tile (h, w) in [0, 255].

        compactness plays no part here. network: of algorithms that need training, which name
        theirs by a method `part`.
        """
        from skimage.filters import sobel
        from skimage.segmentation import watershed

        labels: np.ndarray = watershed(sobel(image), markers=count)
        return labels


WATERSHED = Watershed()
