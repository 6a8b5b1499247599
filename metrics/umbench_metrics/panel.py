"""From raw distances over observations to MM-FID: the normalisations, by name."""

from __future__ import annotations

from collections.abc import Collection
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
    table: pd.DataFrame,
    mode: str,
    *,
    floor: str = "real",
    ceiling: str = "degraded",
    spanning: Collection[str] | None = None,
) -> pd.DataFrame:
    """Scale raw distances; `table` has columns method, observation, value, one row each.

    anchored: per observation 0 = the floor's value, 1 = the ceiling's; adding a method moves no
    other row. minmax: per observation over the methods `spanning` (all of the table's without),
    which then lie in [0, 1], the others anywhere (paper, III.C.1); NaN for the others where those
    do not differ. l2-rows: each method's values over their Euclidean norm, as in the authors'
    public code, which erases the scale. Rows keep their order and index. ValueError for an
    unknown mode, a missing anchor or span, or anchors that coincide.
    """
    if mode not in MODES:
        raise ValueError(f"no normalisation {mode!r}; there are {', '.join(MODES)}")
    values = table["value"].astype(float)
    if mode == "l2-rows":
        norms = values.groupby(table["method"]).transform(lambda v: float(np.sqrt((v**2).sum())))
        return table.assign(value=values / norms.where(norms > 0, 1.0))
    if mode == "minmax":
        inside = table["method"].isin(set(table["method"]) if spanning is None else spanning)
        groups = values.where(inside).groupby(table["observation"])
        low, high = groups.transform("min"), groups.transform("max")
        if low.isna().any():
            where = table.loc[low.isna(), "observation"].iloc[0]
            raise ValueError(f"{where}: none of the methods that span the scale has a value")
        scaled = (values - low) / (high - low).where(high > low)
        return table.assign(value=scaled.mask((high == low) & inside, 0.0))
    low, high = (_anchor(table, values, name) for name in (floor, ceiling))
    if (high <= low).any():
        where = table.loc[high <= low, "observation"].iloc[0]
        raise ValueError(f"{where}: {ceiling} does not score above {floor}; no scale there")
    return table.assign(value=(values - low) / (high - low))


def _anchor(table: pd.DataFrame, values: pd.Series, name: str) -> pd.Series:
    rows = table["method"] == name
    anchors = dict(zip(table.loc[rows, "observation"], values[rows], strict=True))
    missing = set(table["observation"]) - set(anchors)
    if missing:
        raise ValueError(f"the anchor {name!r} has no value for {sorted(missing)[0]}")
    return table["observation"].map(anchors)
