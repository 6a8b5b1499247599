"""From raw distances over observations to MM-FID: the normalisations, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MODES = ("anchored", "minmax", "l2-rows")


@dataclass(frozen=True, order=True)
class Observation:
    """One view of a set of images: an extractor's name and a resolution in pixels."""

    extractor: str
    resolution: int

    def __str__(self) -> str:
        return f"{self.extractor}@{self.resolution}"


def normalise(
    table: pd.DataFrame, mode: str, *, floor: str = "real", ceiling: str = "degraded"
) -> pd.DataFrame:
    """Scale raw distances; `table` has columns method, observation, value, one row each.

    anchored: per observation 0 = the floor's value, 1 = the ceiling's; adding a method moves no
    other row. minmax: per observation over the table's methods, to [0, 1] (paper, III.C.1).
    l2-rows: each method's values over their Euclidean norm, as in the authors' public code,
    which erases the scale. Rows keep their order and index. ValueError for an unknown mode, a
    missing anchor, or anchors that coincide.
    """
    if mode not in MODES:
        raise ValueError(f"no normalisation {mode!r}; there are {', '.join(MODES)}")
    values = table["value"].astype(float)
    if mode == "l2-rows":
        norms = values.groupby(table["method"]).transform(lambda v: float(np.sqrt((v**2).sum())))
        return table.assign(value=values / norms.where(norms > 0, 1.0))
    if mode == "minmax":
        groups = values.groupby(table["observation"])
        low, high = groups.transform("min"), groups.transform("max")
    else:
        low, high = (_anchor(table, values, name) for name in (floor, ceiling))
        if (high <= low).any():
            where = table.loc[high <= low, "observation"].iloc[0]
            raise ValueError(f"{where}: {ceiling} does not score above {floor}; no scale there")
    span = (high - low).where(high > low, 1.0)
    return table.assign(value=(values - low) / span)


def _anchor(table: pd.DataFrame, values: pd.Series, name: str) -> pd.Series:
    rows = table["method"] == name
    anchors = dict(zip(table.loc[rows, "observation"], values[rows], strict=True))
    missing = set(table["observation"]) - set(anchors)
    if missing:
        raise ValueError(f"the anchor {name!r} has no value for {sorted(missing)[0]}")
    return table["observation"].map(anchors)
