"""Who is scanned, and how: sex, age, build, lesions, field of view, kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid in body coordinates: centre (x, y, z), radii, HU, and its kind."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    kind: str
    seed: int


@dataclass(frozen=True)
class Subject:
    """One subject; lengths are in half image widths, z runs from 0 (apex) to 1 (base).

    muscle and fat: thickness of the layers. depth: ratio of depth to width of the chest.
    emphysema and calcium: 0 to 1, growing with age. fov: full, circular or limited.
    """

    number: int
    seed: int
    sex: str
    age: float
    width: float
    depth: float
    fat: float
    muscle: float
    emphysema: float
    calcium: float
    heart: float
    tilt: float
    shift: tuple[float, float]
    arms: bool
    table: bool
    fov: str
    kernel: str
    noise: float
    pattern: str
    lesions: tuple[Lesion, ...]

    def generator(self, *stream: int) -> np.random.Generator:
        """Random numbers of this subject; each stream is independent of the others."""
        return np.random.default_rng([self.seed, self.number, *stream])


def make_subject(number: int, seed: int) -> Subject:
    """Subject `number` of the population `seed`; the others do not matter to it."""
    g = np.random.default_rng([seed, number])
    sex = "F" if g.random() < 0.5 else "M"
    age = float(np.round(g.uniform(20, 90)))
    old = (age - 20) / 70
    pattern = str(g.choice(["none", "ggo", "consolidation", "mixed"], p=[0.1, 0.35, 0.2, 0.35]))
    female = sex == "F"
    return Subject(
        number=number,
        seed=seed,
        sex=sex,
        age=age,
        width=float(np.clip(g.normal(0.83 if female else 0.92, 0.025), 0.74, 0.97)),
        depth=float(np.clip(g.normal(0.60 + 0.20 * old, 0.025), 0.55, 0.85)),
        fat=float(np.clip(g.normal(0.032 + 0.015 * female, 0.010), 0.01, 0.08)),
        muscle=float(
            np.clip(g.normal((0.04 if female else 0.065) * (1.25 - 0.6 * old), 0.005), 0.015, 0.1)
        ),
        emphysema=float(np.clip(1.4 * old - 0.45 + g.normal(0, 0.12), 0, 1)),
        calcium=float(np.clip(1.5 * old - 0.4 + g.normal(0, 0.12), 0, 1)),
        heart=float(g.normal(1.0 + 0.1 * old, 0.06)),
        tilt=float(g.normal(0, 0.05)),
        shift=(float(g.normal(0, 0.02)), float(g.normal(0, 0.02))),
        arms=bool(g.random() < 0.15),
        table=bool(g.random() < 0.6),
        fov=str(g.choice(["full", "circular", "limited"], p=[0.5, 0.3, 0.2])),
        kernel=str(g.choice(["soft", "sharp"])),
        noise=float(g.uniform(10, 40)),
        pattern=pattern,
        lesions=_lesions(g, pattern),
    )


def _lesions(g: np.random.Generator, pattern: str) -> tuple[Lesion, ...]:
    """Mainly peripheral and posterior, as COVID-19 pneumonia lies."""
    if pattern == "none":
        return ()
    lesions = []
    for _ in range(int(g.integers(8, 20))):
        kind = str(g.choice(["ggo", "consolidation"])) if pattern == "mixed" else pattern
        side = 1 if g.random() < 0.5 else -1
        angle = g.normal(0.55, 0.6)
        rim = g.uniform(0.55, 0.95)
        centre = (
            side * (0.40 + 0.32 * rim * np.cos(angle)),
            0.05 + 0.48 * rim * np.sin(angle),
            float(g.beta(1.6, 1.6)),
        )
        big = g.uniform(0.12, 0.30) if kind == "ggo" else g.uniform(0.08, 0.20)
        radii = (big * g.uniform(0.7, 1.4), big * g.uniform(0.7, 1.4), big * g.uniform(0.5, 0.9))
        hu = g.uniform(-650, -380) if kind == "ggo" else g.uniform(-80, 40)
        lesions.append(
            Lesion(
                tuple(float(c) for c in centre),  # type: ignore[arg-type]
                tuple(float(r) for r in radii),  # type: ignore[arg-type]
                float(hu),
                kind,
                int(g.integers(2**31)),
            )
        )
    return tuple(lesions)
