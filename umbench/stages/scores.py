"""Stage `scores`: one metric of every method in every observation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
from umbench_metrics.metric import Span
from umbench_metrics.panel import ExtractorFacts
from umbench_metrics.registry import get
from umbench_metrics.scoring import score_row

from umbench.pipeline import Context
from umbench.stages.artifacts import save_json, save_table
from umbench.stages.observations import every, read_observations

if TYPE_CHECKING:
    from umbench.stages.values import Board, Compare, Score

LEFT_OUT, EXTRACTORS, SCORES = "left_out.json", "extractors.json", "scores.csv"


def run(context: Context[Score]) -> None:
    """Writes scores.csv, tidy; extractors.json; and what had to be left out of a scale, and why."""
    stage = context.stage
    metric, rows = get(stage.metric), []
    observations = read_observations(context.folder, stage.seen)
    for index, panel in enumerate(observations.values()):
        rows += [
            score_row(metric, o.real, o.synthetic, method=o.method.name, seed=o.seed) for o in panel
        ]
        context.progress(index + 1, len(observations), stage.metric)
    extractors: dict[str, list[ExtractorFacts]] = {}
    for observation in every(observations):
        name = observation.synthetic.view.name
        extractors.setdefault(name, []).append(observation.synthetic.facts)
    merged = {
        name: replace(ExtractorFacts.of_seeds(found), name=name).document()
        for name, found in extractors.items()
    }
    save_json(context.output / EXTRACTORS, merged)
    raw = pd.DataFrame(rows)
    scaled = metric.scaled(raw, span(stage))
    save_json(context.output / LEFT_OUT, dict(scaled.left_out))
    save_table(context.output / SCORES, pd.concat([raw, *scaled.tables]))


def span(stage: Score) -> Span:
    """What scales are made from: the generators, and the scale that the suite asks for."""
    methods = dict.fromkeys(s.method for s in stage.seen)
    return Span([m.name for m in methods if m.ranked], stage.normalisation)


def read_scores(
    context: Context[Compare] | Context[Board], scores: tuple[Score, ...]
) -> pd.DataFrame:
    """The tables of several metrics, one below the other."""
    tables = [pd.read_csv(context.folder(score) / SCORES) for score in scores]
    table = pd.concat(tables, ignore_index=True)
    return table.assign(flag=table["flag"].fillna(""))
