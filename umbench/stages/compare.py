"""Stage `compare`: the paper's test and the resampling test, side by side, for every pair."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from umbench_metrics.metric import Resampled, Shown, can_be_resampled, difference_unit
from umbench_metrics.registry import get

from umbench.pipeline import Context
from umbench.stages.artifacts import save_table
from umbench.stages.observations import Observation, read_observations
from umbench.stages.scores import read_scores, span
from umbench.statistics.resampling import Sighting, permutation_test
from umbench.statistics.table import adjusted, test_row

if TYPE_CHECKING:
    from umbench.stages.values import Compare


def run(context: Context[Compare]) -> None:
    """Writes tests.csv."""
    table = adjusted(_pairs(context), context.stage.tests.alpha)
    save_table(context.output / "tests.csv", table)


def _pairs(context: Context[Compare]) -> list[dict[str, Any]]:
    """All pairs of generators, by each metric that can be resampled; the reference's come first."""
    stage = context.stage
    tests, scores = stage.tests, read_scores(context, stage.scores)
    seen = stage.seen
    observations = read_observations(context.folder, seen)
    generators = {s.method.name: s.method for s in seen if s.method.ranked}
    seeds = list(dict.fromkeys(s.seed for s in seen))
    pairs = list(itertools.combinations(generators, 2))
    names, scales = set(scores["metric"]), span(stage.scores[0])
    metrics = [
        (metric, metric.shown(names, scales))
        for metric in (get(score.metric) for score in stage.scores)
        if can_be_resampled(metric)
    ]
    rows = []
    for index, ((a, b), (metric, shown)) in enumerate(itertools.product(pairs, metrics)):
        sightings = [
            sighting
            for seed in seeds
            for sighting in paired_sightings(
                observations[a, seed], observations[b, seed], scores, metric, shown
            )
        ]
        resampled = permutation_test(
            sightings,
            metric.differences,
            permutations=tests.permutations,
            seed=pair_seed(a, b, metric.score),
            paired=None not in (generators[a].conditions, generators[b].conditions),
        )
        first, second = (b, a) if a == stage.reference else (a, b)
        x, y = (_values(scores, name, shown.score) for name in (first, second))
        rows.append(
            test_row(shown.score, "all pairs of generators", first, second, x, y, resampled)
        )
        context.progress(index + 1, len(pairs) * len(metrics), "tests")
    return sorted(rows, key=lambda row: row["b"] != stage.reference)


def paired_sightings(
    first: list[Observation],
    second: list[Observation],
    scores: pd.DataFrame,
    metric: Resampled,
    shown: Shown,
) -> list[Sighting]:
    """Two methods' features at one seed, with what each observation's difference is divided by.

    Observations that were set aside for the leaderboard's scale take no part in its tests.
    """
    out = []
    for a, b in zip(first, second, strict=True):
        view = a.synthetic.view
        here = scores[
            (scores["extractor"] == view.name)
            & (scores["resolution"] == view.resolution)
            & (scores["seed"] == a.seed)
        ]
        if not (here["metric"] == shown.score).any():
            continue
        raw = here[here["metric"] == metric.score].set_index("method")["value"].to_dict()
        made = a.synthetic
        unit = difference_unit(metric, shown, raw, a.real, made, b.synthetic)
        out.append(
            Sighting(
                a.real.folds, made.folds, b.synthetic.folds, unit, rows=made.rows, group=a.seed
            )
        )
    return out


def pair_seed(a: str, b: str, metric: str) -> int:
    """A pair's own random numbers: other methods in the table do not change them."""
    return int.from_bytes(hashlib.sha256(f"{a}|{b}|{metric}".encode()).digest()[:4], "big")


def _values(scores: pd.DataFrame, method: str, metric: str) -> np.ndarray:
    """One value per observation, averaged over seeds, in a fixed order."""
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.groupby(["extractor", "resolution"], sort=True)["value"].mean().to_numpy()
