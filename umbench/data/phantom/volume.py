"""From anatomy to a scan: vessel trees, lesions, field of view, kernel and noise."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from umbench.data.phantom.anatomy import Grid, draw_healthy, lungs_at, make_grid
from umbench.data.phantom.subjects import Lesion, Subject

OUTSIDE = -2000.0
AIRWAY = -900.0
TRUNKS, FORKS = 12, 5
WAVES, RAGGED = 4, 0.09
"""How many waves make a lesion's edge ragged, and by how much of its radius each."""


def lung_shares(subject: Subject, slices: int, size: int = 32) -> np.ndarray:
    """Lung area of each slice as a share of the slice (Z,), from a coarse drawing."""
    grid = make_grid(subject, size)
    return np.array([lungs_at(subject, grid, (k + 0.5) / slices).mean() for k in range(slices)])


def make_slice(
    subject: Subject, size: int, z: float, tree: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One slice: HU int16, and masks of lung, ground glass and consolidation."""
    grid = make_grid(subject, size)
    image, lungs = draw_healthy(subject, grid, z)
    healthy = image
    masks = {"ggo": np.zeros_like(lungs), "consolidation": np.zeros_like(lungs)}
    # ground glass first: where both meet, consolidation hides it
    for lesion in sorted(subject.lesions, key=lambda item: item.kind, reverse=True):
        share = lesion_share(lesion, grid, z) * lungs
        image = image + share * (lesion.hu - image)
        masks[lesion.kind] |= share > 0.5
        if lesion.kind == "consolidation":
            masks["ggo"] &= ~(share > 0.5)
    image = _vessels(subject, grid, z, tree, image, lungs, masks["consolidation"])
    image = _bronchograms(subject, grid, z, image, healthy, masks["consolidation"])
    image = _acquire(subject, grid, image, number)
    inside = grid.radius <= 1 if subject.fov == "circular" else np.ones_like(lungs)
    lungs = lungs & inside
    ggo, consolidation = masks["ggo"] & inside, masks["consolidation"] & inside
    return np.clip(image, -2048, 3071).astype(np.int16), lungs, ggo, consolidation


def lesion_share(lesion: Lesion, grid: Grid, z: float) -> np.ndarray:
    """How much of each pixel a lesion fills: ragged ellipsoids, ground glass with soft edges."""
    softness = 0.30 if lesion.kind == "ggo" else 0.10
    if abs(z - lesion.centre[2]) / lesion.radii[2] > 1 + softness / 2 + WAVES * RAGGED:
        return np.zeros_like(grid.x)
    g = np.random.default_rng(lesion.seed)
    offset = [(grid.x - lesion.centre[0]), (grid.y - lesion.centre[1]), z - lesion.centre[2]]
    scaled = [np.asarray(o) / r for o, r in zip(offset, lesion.radii, strict=True)]
    distance = np.sqrt(scaled[0] ** 2 + scaled[1] ** 2 + scaled[2] ** 2)
    for _ in range(WAVES):
        kx, ky, kz = g.normal(0, 3.0, 3)
        wave = np.cos(kx * scaled[0] + ky * scaled[1] + kz * scaled[2] + g.uniform(0, 6.3))
        distance = distance + RAGGED * wave
    return np.clip((1 - distance) / softness + 0.5, 0, 1)


def grow_tree(subject: Subject) -> np.ndarray:
    """Vessel segments of both lungs (S, 7): two ends (x, y, z) and a radius, from the hila.

    Twelve trunks on each side; every branch splits in two, five times over.
    """
    g = subject.generator(3)
    side = np.repeat([-1.0, 1.0], TRUNKS)
    count = len(side)
    direction = np.stack(
        [side * g.uniform(0.3, 1, count), g.normal(0, 0.8, count), g.normal(0, 0.7, count)], 1
    )
    start = np.stack([side * 0.15, np.full(count, 0.02), np.full(count, 0.46)], 1)
    radius, length = np.full((count, 1), 0.021), np.full((count, 1), 0.20)
    segments = []
    for _ in range(FORKS + 1):
        direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        end = start + direction * length * np.array([1, 1, 0.75])
        segments.append(np.hstack([start, end, radius]))
        start, radius = np.repeat(end, 2, 0), np.repeat(radius, 2, 0) * 0.74
        direction = np.repeat(direction, 2, 0) + g.normal(0, 0.42, start.shape)
        length = np.repeat(length, 2, 0) * g.uniform(0.62, 0.86, (len(start), 1))
    return np.concatenate(segments)


def _vessels(
    subject: Subject,
    grid: Grid,
    z: float,
    tree: np.ndarray,
    image: np.ndarray,
    lungs: np.ndarray,
    hidden: np.ndarray,
) -> np.ndarray:
    """Vessels 30 to 60 HU where the tree passes the slice; consolidation hides them."""
    reach = tree[:, 6] + 0.6 * grid.pixel
    low = np.minimum(tree[:, 2], tree[:, 5]) - reach
    high = np.maximum(tree[:, 2], tree[:, 5]) + reach
    share = np.zeros_like(image)
    for x0, y0, z0, x1, y1, z1, radius in tree[(low <= z) & (z <= high)]:
        rows, columns = _window(grid, min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        px, py = grid.x[rows, columns], grid.y[rows, columns]
        d = np.array([x1 - x0, y1 - y0, z1 - z0])
        along = (px - x0) * d[0] + (py - y0) * d[1] + (z - z0) * d[2]
        part = np.clip(along / (d @ d), 0, 1)
        distance = np.sqrt(
            (px - x0 - part * d[0]) ** 2
            + (py - y0 - part * d[1]) ** 2
            + (z - z0 - part * d[2]) ** 2
        )
        covered = np.clip((radius - distance) / grid.pixel + 0.5, 0, 1)
        covered *= min(1.0, 2 * radius / grid.pixel)
        share[rows, columns] = np.maximum(share[rows, columns], covered)
    share = np.where(lungs & ~hidden, share, 0)
    return image + share * (45 - image)


def _window(grid: Grid, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
    """Rows and columns that can hold a box, with a margin for tilt."""
    size, margin = grid.x.shape[0], 0.08
    start_x, start_y = grid.x[size // 2, 0], grid.y[0, size // 2]
    columns = slice(
        max(0, int((x0 - margin - start_x) / grid.pixel)),
        min(size, int((x1 + margin - start_x) / grid.pixel) + 1),
    )
    rows = slice(
        max(0, int((y0 - margin - start_y) / grid.pixel)),
        min(size, int((y1 + margin - start_y) / grid.pixel) + 1),
    )
    return rows, columns


def _bronchograms(
    subject: Subject,
    grid: Grid,
    z: float,
    image: np.ndarray,
    healthy: np.ndarray,
    consolidation: np.ndarray,
) -> np.ndarray:
    """Air-filled bronchi that stay visible in consolidation."""
    if not consolidation.any():
        return image
    g = subject.generator(5)
    lines = np.zeros_like(image, dtype=bool)
    for _ in range(5):
        k, phase = g.uniform(14, 26), g.uniform(0, 6.3)
        angle = g.uniform(-1, 1)
        across = np.cos(angle) * grid.y - np.sin(angle) * np.abs(grid.x) + 0.2 * z
        lines |= np.abs(np.sin(k * across + phase)) < 0.06
    return np.where(consolidation & lines, 0.45 * image + 0.55 * AIRWAY, image)


def _acquire(subject: Subject, grid: Grid, image: np.ndarray, number: int) -> np.ndarray:
    """Blur or sharpen by the kernel, add noise with its correlation, cut the field of view."""
    noise = subject.generator(13, number).normal(0, 1, image.shape)
    soft = ndimage.gaussian_filter(image, 0.6)
    if subject.kernel == "soft":
        noise = ndimage.gaussian_filter(noise, 1.0)
        image = soft
    else:
        noise = noise - 0.6 * ndimage.gaussian_filter(noise, 1.0)
        image = image + 0.5 * (image - soft)
    image = image + subject.noise * noise / noise.std()
    if subject.fov == "circular":
        image = np.where(grid.radius <= 1, image, OUTSIDE)
    return image
