"""Distances of different extractors on one scale: the normalisations, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from umbench_metrics.metric import Column, Plain, Scaled, Shown, Span

if TYPE_CHECKING:
    import pandas as pd

MODES = ("anchored", "minmax", "l2-rows")


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


class Distance(Plain):
    """A base for distances to the real images, which are shown on a scale over methods.

    Observation by observation raw values are put on every scale that can be had; `name` and a
    scale's name make that of the score, as in "mm-fid-anchored".
    """

    name: ClassVar[str]

    def scaled(self, raw: pd.DataFrame, span: Span) -> Scaled:
        """On each scale, seed by seed, without intervals.

        minmax is spanned by the generators alone, as in the paper: controls are shown on that
        scale, and may lie outside [0, 1].
        """
        raw = raw.assign(observation=raw["extractor"] + "@" + raw["resolution"].astype(str))
        anchors = {"real", "degraded"} <= set(raw["method"])
        without = without_anchors(raw) if anchors else {}
        kept = raw[~raw["observation"].isin(list(without))] if anchors else raw[:0]
        out = []
        for mode, part in zip(MODES, (kept, raw, raw), strict=True):
            for _, one in part.groupby("seed", sort=True):
                values = normalise(one, mode, spanning=span.generators)["value"]
                scaled = one.drop(columns="observation").assign(
                    metric=f"{self.name}-{mode}", value=values
                )
                out.append(scaled.assign(low=np.nan, high=np.nan))
        return Scaled(out, {f"{self.name}-anchored": without} if without else {})

    def shown(self, scores: set[str], span: Span) -> Shown:
        """The scale that is asked for, or minmax where its anchors are nowhere in order."""
        scale, note = span.normalisation, ""
        if f"{self.name}-{scale}" not in scores:
            note = (
                f"{self.label} is minmax, not {scale}: in no observation does degraded score "
                "above real."
            )
            scale = "minmax"
        return Shown(self.name, f"{self.name}-{scale}", scale, note)

    def columns(self, shown: Shown) -> Sequence[Column]:
        """The scale shown."""
        name, axis = self.name.replace("-", "_"), f"{self.means}, {shown.scale}"
        return (Column(name, shown.score, "lower", self.label, axis),)

    def explained(self, shown: Shown) -> str:
        """The scale shown."""
        return f"{self.label}: mean ± SD over observations, {shown.scale}, lower is better"

    def reading(self, shown: Shown) -> str:
        """What 0 and 1 are, on the anchored scale."""
        text = f"{self.label} is the mean of a normalised {self.means} over observations"
        if shown.scale == "anchored":
            text += (
                ": 0 is what held-out real images score (*real*), 1 is what damaged test images "
                "score (*degraded*)"
            )
        return f"{text}."

    def unit_of(self, raw: Mapping[str, float], shown: Shown) -> float | None:
        """From what held-out images score to what damaged ones do, on the anchored scale."""
        return float(raw["degraded"] - raw["real"]) if shown.scale == "anchored" else None


def without_anchors(raw: pd.DataFrame) -> dict[str, str]:
    """Observation -> why it has no anchored scale: at some seed its anchors are upside down.

    raw: rows of `scores.csv` with their `observation`. One is set aside at every seed, so that all
    seeds are means over the same observations.
    """
    values = raw.pivot(index=["observation", "seed"], columns="method", values="value")
    out: dict[str, str] = {}
    for where, seed in values.index[values["degraded"] <= values["real"]]:
        real, degraded = values.loc[(where, seed), ["real", "degraded"]]
        out.setdefault(
            where,
            f"degraded scores {degraded:.4g} there, not above real's {real:.4g}, so it has no "
            "anchored scale",
        )
    return out
