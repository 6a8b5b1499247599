"""One axial slice of the healthy chest in HU, as distance fields of a position along the axis.

Image coordinates: x to the right is the patient's left, y downwards is the back; both in half
image widths. The front of the chest is up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from umbench.data.phantom.subjects import Subject

AIR, LUNG, FAT, MUSCLE, BLOOD, MARROW, CORTEX = -1000.0, -850.0, -100.0, 50.0, 40.0, 150.0, 700.0
RIBS = 11


@dataclass(frozen=True)
class Grid:
    """Pixel coordinates of a slice (h, w), seen through the subject's field of view and tilt."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    pixel: float


def make_grid(subject: Subject, size: int) -> Grid:
    """Pixel centres in body coordinates; a limited field of view looks closer."""
    zoom = 0.74 if subject.fov == "limited" else 1.0
    line = (np.arange(size) + 0.5) / size * 2 - 1
    sx, sy = np.meshgrid(line, line)
    cos, sin = np.cos(subject.tilt), np.sin(subject.tilt)
    x, y = sx * zoom - subject.shift[0], sy * zoom - subject.shift[1]
    return Grid(cos * x + sin * y, -sin * x + cos * y, np.hypot(sx, sy), 2 * zoom / size)


@dataclass(frozen=True)
class Chest:
    """Half axes of the body and of the chest cavity at one height."""

    a: float
    b: float
    ca: float
    cb: float
    cy: float


def chest_at(subject: Subject, z: float) -> Chest:
    """The thorax narrows to the apex and is deepest below the middle."""
    swell = 0.72 + 0.28 * np.sin(np.pi * min(0.28 + 0.55 * z, 0.9))
    a, b = (
        subject.width * (0.9 + 0.1 * swell),
        subject.width * subject.depth * (0.85 + 0.15 * swell),
    )
    wall = subject.fat + subject.muscle + 0.03
    taper = np.clip((z + 0.10) / 0.42, 0, 1) ** 0.55
    return Chest(a, b, (a - wall) * (0.55 + 0.45 * taper), (b - wall) * (0.62 + 0.38 * taper), 0.0)


def ellipse(
    grid: Grid, cx: float, cy: float, rx: float, ry: float, power: float = 2.0
) -> np.ndarray:
    """Normalised distance: below 1 inside; a superellipse for powers above 2."""
    if power == 2:
        return np.hypot((grid.x - cx) / rx, (grid.y - cy) / ry)
    return (np.abs((grid.x - cx) / rx) ** power + np.abs((grid.y - cy) / ry) ** power) ** (
        1 / power
    )


def cover(grid: Grid, distance: np.ndarray, radius: float) -> np.ndarray:
    """Share of a pixel covered by a shape of about `radius`, from its normalised distance."""
    return np.clip((1 - distance) * radius / grid.pixel + 0.5, 0, 1)


def blend(image: np.ndarray, share: np.ndarray, hu: float | np.ndarray) -> np.ndarray:
    """Paint over `image` where `share` is 1, partly where it is between."""
    return image + share * (hu - image)


def lungs_at(subject: Subject, grid: Grid, z: float) -> np.ndarray:
    """Exact lung mask (h, w) bool at height z: both lungs without mediastinum and diaphragm."""
    chest = chest_at(subject, z)
    inside = ellipse(grid, 0, chest.cy, chest.ca, chest.cb, 2.3) < 1
    gap = 0.11 + 0.05 * np.exp(-(((z - 0.35) / 0.2) ** 2))
    septum = np.abs(grid.x) > gap * (0.75 + 0.5 * (grid.y / max(chest.cb, 1e-6)) ** 2)
    heart = heart_distance(subject, grid, z) > 1.06
    spine = ellipse(grid, 0, chest.cb * 0.95, 0.165, 0.19) > 1
    liver, stomach = diaphragm_at(subject, grid, z)
    aorta = ellipse(grid, 0.10, chest.cb * 0.62, 0.085, 0.085) > 1
    return inside & septum & heart & spine & aorta & ~liver & ~stomach


def diaphragm_at(subject: Subject, grid: Grid, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Domes that rise into the lungs at the base; the right one (image left) is higher."""
    chest = chest_at(subject, z)
    domes = []
    for side, start in ((-1, 0.74), (1, 0.80)):
        rise = np.clip((z - start) / (1.06 - start), 0, 1)
        size = np.sqrt(rise)
        dome = ellipse(
            grid, side * chest.ca * 0.45, -chest.cb * 0.12, chest.ca * 0.62 * size + 1e-6,
            chest.cb * 0.86 * size + 1e-6,
        )  # fmt: skip
        domes.append((dome < 1) & (side * grid.x > 0.0))
    return domes[0], domes[1]


def heart_distance(subject: Subject, grid: Grid, z: float) -> np.ndarray:
    """Normalised distance to the heart, which lies front and left, or to the great vessels."""
    chest = chest_at(subject, z)
    full = np.clip((z - 0.36) / 0.22, 0, 1) * np.clip((1.15 - z) / 0.3, 0, 1)
    r = subject.heart * (0.13 + 0.21 * np.sqrt(full))
    return ellipse(grid, 0.03 + 0.12 * full, -chest.cb * 0.32, r, r * (0.80 + 0.1 * full))


def draw_healthy(subject: Subject, grid: Grid, z: float) -> tuple[np.ndarray, np.ndarray]:
    """HU (h, w) float64 without vessels and lesions, and the lung mask."""
    chest = chest_at(subject, z)
    image = np.full(grid.x.shape, AIR)
    image = _body(subject, grid, z, chest, image)
    lungs = lungs_at(subject, grid, z)
    image = np.where(lungs, _parenchyma(subject, grid, z), image)
    image = _mediastinum(subject, grid, z, chest, image)
    image = _bones(subject, grid, z, chest, image)
    return image, lungs


def _body(subject: Subject, grid: Grid, z: float, chest: Chest, image: np.ndarray) -> np.ndarray:
    if subject.table:
        arc = np.abs(np.hypot(grid.x, grid.y + 2.2) - (chest.b + 2.24)) < max(0.012, grid.pixel / 2)
        image = np.where(arc & (np.abs(grid.x) < 0.8), 0.0, image)
    if subject.arms:
        for side in (-1, 1):
            arm = ellipse(grid, side * (chest.a + 0.13), 0.15, 0.12, 0.14)
            image = blend(image, cover(grid, arm, 0.12), MUSCLE)
            bone = ellipse(grid, side * (chest.a + 0.13), 0.15, 0.045, 0.045)
            image = blend(image, cover(grid, bone, 0.045), CORTEX)
    if subject.sex == "F":
        size = np.exp(-(((z - 0.55) / 0.22) ** 2))
        for side in (-1, 1):
            rx, ry = 0.33 * size + 1e-6, 0.20 * size + 1e-6
            breast = ellipse(grid, side * chest.a * 0.48, -chest.b * 0.90, rx, ry)
            image = blend(image, cover(grid, breast, rx), FAT)
            gland = ellipse(grid, side * chest.a * 0.48, -chest.b * 0.98, rx * 0.55, ry * 0.55)
            image = blend(image, 0.6 * cover(grid, gland, rx * 0.5), MUSCLE)
    body = ellipse(grid, 0, 0, chest.a, chest.b, 2.35)
    image = blend(image, cover(grid, body, chest.b), FAT)
    flesh = ellipse(grid, 0, 0, chest.a - subject.fat, chest.b - subject.fat, 2.35)
    image = blend(image, cover(grid, flesh, chest.b), MUSCLE)
    # fat between the muscles of the wall, more of it at the back
    strands = np.sin(38 * np.arctan2(grid.y, grid.x)) * np.sin(60 * flesh)
    wall = (flesh < 1) & (flesh > 0.80) & (strands > 0.55)
    return np.where(wall, FAT, image)


def _parenchyma(subject: Subject, grid: Grid, z: float) -> np.ndarray:
    """Lung tissue: denser towards the back; emphysema leaves dark patches in the old."""
    lung = LUNG + 45 * grid.y / max(subject.depth, 0.1)
    g = subject.generator(7)
    waves = np.zeros_like(grid.x)
    for _ in range(6):
        kx, ky, kz = g.normal(0, 9, 3)
        waves += np.cos(kx * grid.x + ky * grid.y + kz * z + g.uniform(0, 6.3))
    patches = np.clip((waves - 1.2) / 1.5, 0, 1) * subject.emphysema
    return lung - 110 * patches


def _mediastinum(
    subject: Subject, grid: Grid, z: float, chest: Chest, image: np.ndarray
) -> np.ndarray:
    inner = ellipse(grid, 0, chest.cy, chest.ca, chest.cb, 2.3) < 1
    soft = inner & (image > -300)
    image = np.where(soft & (np.abs(grid.x) < 0.17), FAT + 90 * (z > 0.3), image)
    image = blend(image, cover(grid, heart_distance(subject, grid, z), 0.25), BLOOD)
    liver, stomach = diaphragm_at(subject, grid, z)
    image = np.where(liver, 60.0, image)
    image = np.where(stomach, 30.0, image)
    descending = ellipse(grid, 0.10, chest.cb * 0.62, 0.065, 0.065)
    vessels = [(descending, 0.065)]
    if 0.20 < z < 0.34:
        arch = ellipse(grid, 0.06, chest.cb * 0.12, 0.06, chest.cb * 0.55)
        vessels.append((arch, 0.06))
    elif z >= 0.34:
        vessels.append((ellipse(grid, -0.04, -chest.cb * 0.30, 0.07, 0.07), 0.07))
    else:
        vessels += [(ellipse(grid, dx, -0.05, 0.035, 0.035), 0.035) for dx in (-0.10, 0.02, 0.12)]
    for distance, radius in vessels:
        image = blend(image, cover(grid, distance, radius), BLOOD + 15)
        rim = (np.abs(distance - 1) < 0.22) & _speckle(subject, grid, z, subject.calcium)
        image = np.where(rim, 600.0, image)
    return _airway(subject, grid, z, chest, image)


def _speckle(subject: Subject, grid: Grid, z: float, amount: float) -> np.ndarray:
    """Where plaques lie on vessel walls: arcs that come and go along the axis."""
    phase = subject.generator(11).uniform(0, 6.3, 2)
    angle = np.arctan2(grid.y, grid.x - 0.05)
    return np.cos(7 * angle + 9 * z + phase[0]) + np.cos(23 * z + phase[1]) > 2.2 - 2.4 * amount


def _airway(subject: Subject, grid: Grid, z: float, chest: Chest, image: np.ndarray) -> np.ndarray:
    """Trachea to the carina, then the main bronchi; a wall around air."""
    split = np.clip((z - 0.38) / 0.14, 0, 1)
    if z > 0.56:
        return image
    for side in (-1, 1) if split > 0 else (0,):
        r = 0.055 - 0.015 * split
        tube = ellipse(grid, side * (0.03 + 0.14 * split), chest.cb * 0.18, r, r)
        image = blend(image, cover(grid, tube / 1.35, r * 1.35), MUSCLE)
        image = blend(image, cover(grid, tube, r), AIR)
    return image


def _bones(subject: Subject, grid: Grid, z: float, chest: Chest, image: np.ndarray) -> np.ndarray:
    # the wall between cavity and flesh carries the ribs; they slope down towards the front
    body = ellipse(grid, 0, chest.cy, chest.ca + 0.018, chest.cb + 0.018, 2.3)
    half = 0.022 + 0.4 * grid.pixel
    band = np.abs(body - 1) * min(chest.ca, chest.cb)
    angle = np.arctan2(grid.y, np.abs(grid.x) + 1e-9)
    phase = z * RIBS + 1.5 * angle + 0.13 * np.sign(grid.x)
    rib = (np.abs(phase - np.round(phase)) < 0.24) & (band < half)
    front = (grid.y < -0.72 * chest.cb) & (np.abs(grid.x) < 0.5 * chest.ca)
    core = rib & (band < 0.45 * half) & (np.abs(phase - np.round(phase)) < 0.15)
    image = np.where(rib & ~front, CORTEX, image)
    image = np.where(core & ~front, MARROW, image)
    image = np.where(rib & front, 90 + 450 * subject.calcium, image)
    sternum = ellipse(grid, 0, -chest.cb - 0.035, 0.12, 0.035, 3)
    image = blend(image, cover(grid, sternum, 0.035), CORTEX * 0.6)
    return _spine(subject, grid, z, chest, image)


def _spine(subject: Subject, grid: Grid, z: float, chest: Chest, image: np.ndarray) -> np.ndarray:
    y = chest.cb * 0.90
    inside = ellipse(grid, 0, 0, chest.a, chest.b, 2.35) < 0.97
    body = ellipse(grid, 0, y, 0.125, 0.105, 2.4)
    disc = abs((z * 9) % 1 - 0.5) > 0.42
    image = blend(image, cover(grid, body, 0.11), 110.0 if disc else CORTEX)
    loss = 60 * (subject.age - 20) / 70
    if not disc:
        image = blend(image, cover(grid, body / 0.80, 0.085), MARROW + 40 - loss)
    arch = ellipse(grid, 0, y + 0.14, 0.15, 0.055, 1.6)
    image = blend(image, cover(grid, arch, 0.065) * inside, CORTEX * 0.8)
    process = ellipse(grid, 0, y + 0.21, 0.025, 0.06)
    image = blend(image, cover(grid, process, 0.03) * inside, CORTEX * 0.7)
    canal = ellipse(grid, 0, y + 0.125, 0.055, 0.04)
    return blend(image, cover(grid, canal, 0.05), 25.0)
