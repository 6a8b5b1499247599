"""Sample grids: images with their masks drawn on, and the guidance they were made from."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

COLOURS = np.array(
    [[0, 0, 0], [64, 156, 255], [255, 92, 72], [255, 200, 60], [120, 220, 120], [210, 120, 255]],
    dtype=np.float32,
)
GAP = 4
THUMBNAIL = 160


def overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grey (H, W) in [0, 1] with classes tinted and outlined: (H, W, 3) uint8.

    mask: (H, W) class indices; 0 is background and stays grey.
    """
    rgb = np.repeat(image[..., None], 3, axis=2) * 255
    edges = np.zeros(mask.shape, dtype=bool)
    edges[1:] |= mask[1:] != mask[:-1]
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    colours = COLOURS[1 + (mask.astype(int) - 1) % (len(COLOURS) - 1)]
    tint = np.where(edges, 0.9, 0.22)[..., None] * (mask > 0)[..., None]
    out: np.ndarray = np.clip(rgb * (1 - tint) + colours * tint, 0, 255).astype(np.uint8)
    return out


def grid(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack rows of equal pictures (n, H, W[, 3]) uint8 to one RGB picture with gaps."""
    coloured = [row if row.ndim == 4 else np.repeat(row[..., None], 3, axis=3) for row in rows]
    height, width = coloured[0].shape[1:3]
    columns = max(len(row) for row in coloured)
    canvas = np.full(
        (len(rows) * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 24, dtype=np.uint8
    )
    for r, row in enumerate(coloured):
        for c, picture in enumerate(row):
            top, left = GAP + r * (height + GAP), GAP + c * (width + GAP)
            canvas[top : top + height, left : left + width] = picture
    return canvas


@dataclass(frozen=True)
class Samples:
    """A few images as rows of equal pictures, each (n, H, W[, 3]) uint8: the guidance where an
    entry has one, the images, the images with their masks where they have any.
    """

    rows: Sequence[np.ndarray]

    @classmethod
    def of(
        cls, images: np.ndarray, masks: np.ndarray | None, conditions: np.ndarray | None = None
    ) -> Samples:
        """images: (n, H, W) in [0, 1]. masks: class indices. conditions: in [0, 255]."""
        rows = [] if conditions is None else [np.clip(conditions, 0, 255).astype(np.uint8)]
        rows.append(np.round(np.clip(images, 0, 1) * 255).astype(np.uint8))
        if masks is not None:
            rows.append(np.stack([overlay(i, m) for i, m in zip(images, masks, strict=True)]))
        return cls(rows)

    def png(self) -> bytes:
        """All of them at full size."""
        return png(grid(self.rows))

    def thumbnail(self, side: int = THUMBNAIL) -> bytes:
        """JPEG of all of them, none larger than `side` px."""
        return jpeg(grid([np.stack([shrunk(picture, side) for picture in r]) for r in self.rows]))


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (H, W[, 3]) uint8 whose longer side is at most `side` px."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def png(picture: np.ndarray) -> bytes:
    """Encode an RGB uint8 picture; the same pixels give the same bytes."""
    return _encoded(picture, format="PNG")


def jpeg(picture: np.ndarray) -> bytes:
    """Encode an RGB uint8 picture, small and with a loss; outlines keep their colours."""
    return _encoded(picture, format="JPEG", quality=80, subsampling=0)


def _encoded(picture: np.ndarray, **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, **options)
    return buffer.getvalue()
