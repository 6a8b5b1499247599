"""Stage `compare`: the paper's test and the resampling test, side by side, for every pair."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.variety import feature_std

from umbench.pipeline import Context
from umbench.stages.artifacts import save_table
from umbench.stages.scores import FRECHET, RELATIVE, VARIETY, Observation, read_observations
from umbench.statistics.paired import holm, wilcoxon_paired
from umbench.statistics.resampling import (
    ResamplingTest,
    Sighting,
    permutation_test,
    sign_flip_test,
    variety_test,
)

COLUMNS = (
    "metric", "family", "a", "b", "n", "difference", "statistic", "p", "p_holm", "effect",
    "smallest_p", "p_resampling", "p_resampling_holm", "permutations", "note",
)  # fmt: skip


def run(context: Context) -> None:
    """Params: methods, statistics, seeds, metrics, pairs (controls of the utility -> pairs).

    Writes tests.csv and, with utility, dice.csv.
    """
    params = context.stage.params
    rows = _pairs(context)
    dice = _dice(context)
    if dice is not None:
        save_table(context.output / "dice.csv", dice)
        rows += _dice_tests(dice, params["statistics"], params["pairs"])
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    alpha = params["statistics"]["alpha"]
    for _, part in table.groupby(["metric", "family"], sort=False):
        table.loc[part.index, "p_holm"] = holm(list(part["p"]))
        table.loc[part.index, "p_resampling_holm"] = holm(list(part["p_resampling"]))
        table.loc[part.index, "note"] = [_note(row, len(part), alpha) for row in part.itertuples()]
    save_table(context.output / "tests.csv", table)


def _pairs(context: Context) -> list[dict[str, Any]]:
    """All pairs of generators, for fidelity and variety; those with the reference come first."""
    params = context.stage.params
    settings, seeds = params["statistics"], params["seeds"]
    observations = read_observations(context)
    scores = pd.read_csv(context.inputs["scores"] / "scores.csv")
    generators = {m["name"]: m for m in params["methods"] if m["kind"] == "generator"}
    pairs = list(itertools.combinations(generators, 2))
    metrics = [FRECHET] + ([VARIETY] if "mm-std" in params["metrics"] else [])
    rows = []
    for index, ((a, b), metric) in enumerate(itertools.product(pairs, metrics)):
        paired = generators[a]["conditions"] is not None and generators[b]["conditions"] is not None
        sightings = [
            sighting
            for seed in seeds
            for sighting in _sightings(
                observations[a, seed], observations[b, seed], scores, seed, metric, settings
            )
        ]
        test = permutation_test if metric == FRECHET else variety_test
        resampled = test(
            sightings, permutations=settings["permutations"], seed=_seed(a, b, metric),
            paired=paired,
        )  # fmt: skip
        shown = f"mm-fid-{scale_name(scores, settings)}" if metric == FRECHET else RELATIVE
        first, second = (b, a) if a == settings["reference"] else (a, b)
        x, y = (_values(scores, name, shown) for name in (first, second))
        rows.append(_row(shown, "all pairs of generators", first, second, x, y, resampled))
        context.progress(index + 1, len(pairs) * len(metrics), "tests")
    return sorted(rows, key=lambda row: row["b"] != settings["reference"])


def scale_name(scores: pd.DataFrame, settings: dict[str, Any]) -> str:
    """The normalisation of the leaderboard: the one asked for where its anchors are there."""
    wanted = str(settings["normalisation"])
    return wanted if f"mm-fid-{wanted}" in set(scores["metric"]) else "minmax"


def _sightings(
    first: list[Observation],
    second: list[Observation],
    scores: pd.DataFrame,
    seed: int,
    metric: str,
    settings: dict[str, Any],
) -> list[Sighting]:
    """Both methods' features with what each observation's difference is divided by.

    Observations that were set aside for the leaderboard's scale take no part in its tests.
    """
    scale_used = f"mm-fid-{scale_name(scores, settings)}" if metric == FRECHET else metric
    out = []
    for a, b in zip(first, second, strict=True):
        here = scores[
            (scores["extractor"] == a.extractor)
            & (scores["resolution"] == a.resolution)
            & (scores["seed"] == seed)
        ]
        if not (here["metric"] == scale_used).any():
            continue
        chosen = here[here["metric"] == metric].set_index("method")["value"]
        if scale_used == "mm-fid-anchored":
            scale = float(chosen["degraded"] - chosen["real"])
        elif metric == VARIETY and "real" in chosen:
            scale = float(chosen["real"])
        else:
            scale = _pooled(a, b, metric)
        out.append(Sighting(a.real, a.synthetic, b.synthetic, scale, rows=a.rows, group=seed))
    return out


def _pooled(a: Observation, b: Observation, metric: str) -> float:
    """The metric of both methods' images together: a scale that does not know whose they are."""
    values = []
    for real, first, second in zip(a.real, a.synthetic, b.synthetic, strict=True):
        both = np.concatenate([first, second])
        values.append(
            frechet_distance(real, both).value if metric == FRECHET else feature_std(both)
        )
    return float(np.mean(values)) or 1.0


def _seed(a: str, b: str, metric: str) -> int:
    """A pair's own random numbers: other methods in the table do not change them."""
    return int.from_bytes(hashlib.sha256(f"{a}|{b}|{metric}".encode()).digest()[:4], "big")


def _note(row: Any, comparisons: int, alpha: float) -> str:
    """What keeps a row's tests from ever reaching alpha after Holm's adjustment."""
    notes = []
    if row.smallest_p * comparisons > alpha:
        notes.append("Wilcoxon cannot reach alpha with so few pairs")
    if comparisons / (row.permutations + 1) > alpha:
        notes.append("resampling cannot reach alpha with so few permutations")
    return "; ".join([*([row.note] if row.note and not notes else []), *notes])


def _values(scores: pd.DataFrame, method: str, metric: str) -> np.ndarray:
    """One value per observation, averaged over seeds, in a fixed order."""
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.groupby(["extractor", "resolution"], sort=True)["value"].mean().to_numpy()


def _row(
    metric: str, family: str, a: str, b: str, x: np.ndarray, y: np.ndarray, test: ResamplingTest
) -> dict[str, Any]:
    paper = wilcoxon_paired(x, y)
    return {
        "metric": metric,
        "family": family,
        "a": a,
        "b": b,
        "n": len(x),
        "difference": float(np.mean(x - y)),
        "statistic": paper.statistic,
        "p": paper.p,
        "effect": paper.effect,
        "smallest_p": paper.smallest_p,
        "p_resampling": test.p,
        "permutations": test.permutations,
        "note": paper.note,
    }


def _dice(context: Context) -> pd.DataFrame | None:
    """Dice per test image, class and arm; None where utility was not asked for."""
    parts = []
    for role, folder in context.inputs.items():
        if role.startswith("dice "):
            method, seed = role.removeprefix("dice ").split("|")
            table = pd.read_csv(
                folder / "dice.csv", keep_default_na=False, dtype={"subject": str, "image": str}
            )
            table.insert(0, "seed", int(seed))
            table.insert(0, "method", method)
            parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else None


def _dice_tests(
    dice: pd.DataFrame, settings: dict[str, Any], controls: Collection[str]
) -> list[dict[str, Any]]:
    """Each augmented arm against real data alone, over subjects; with lesions alone as well.

    Controls are a family of their own: naming them takes nothing from the generators' tests.
    """
    rows = []
    for region in dict.fromkeys(dice["region"]):
        for label, part in (
            (region, dice[dice["region"] == region]),
            (f"{region}, where present", dice[(dice["region"] == region) & _in_truth(dice)]),
        ):
            table = part.pivot_table(index="subject", columns="method", values="value")
            for arm in [m for m in dict.fromkeys(dice["method"]) if m != "real"]:
                if arm not in table or not len(table):
                    continue
                x, y = table[arm].to_numpy(), table["real"].to_numpy()
                test = sign_flip_test(x - y, permutations=settings["permutations"], seed=0)
                family = f"each {'control' if arm in controls else 'arm'} against real"
                rows.append(_row(f"dice {label}", family, arm, "real", x, y, test))
    return rows


def _in_truth(dice: pd.DataFrame) -> pd.Series:
    return ~dice["empty"].isin(["both", "truth"])
