"""What scores and comparisons are computed from: features of a method beside the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from umbench_metrics.panel import ExtractorFacts, Features, View

from umbench.pipeline import Stage
from umbench.stages.artifacts import FACTS, load_arrays, load_json

if TYPE_CHECKING:
    from umbench.leaderboard.provenance import Method
    from umbench.stages.values import Extract, Seen


@dataclass(frozen=True)
class Observation:
    """Features of one method and of the reference, through one view."""

    method: Method
    seed: int
    real: Features
    synthetic: Features


def read_observations(
    folder: Callable[[Stage], Path], seen: Sequence[Seen]
) -> dict[tuple[str, int], list[Observation]]:
    """(method, seed) -> its observations; all methods are cut to the same number of images.

    folder: where the entry of a stage lies.
    """
    found: dict[tuple[str, int], list[Observation]] = {(s.method.name, s.seed): [] for s in seen}
    for extractor in dict.fromkeys(s.extractor for s in seen):
        chosen = [s for s in seen if s.extractor == extractor]
        stored = {stage: _read(folder(stage)) for s in chosen for stage in _both(s)}
        folds = len(next(iter(stored.values()))[1])
        limits = [
            min(len(stored[s.synthetic][0][f"rows/{k}"]) for s in chosen) for k in range(folds)
        ]
        for s in chosen:
            for resolution in s.synthetic.resolutions:
                view = View(s.synthetic.extractor, resolution, s.synthetic.input)
                real, made = (_features(view, *stored[stage]) for stage in _both(s))
                found[s.method.name, s.seed].append(
                    Observation(s.method, s.seed, real, made.cut(limits))
                )
    return found


def _both(seen: Seen) -> tuple[Extract, Extract]:
    return seen.real, seen.synthetic


Stored = tuple[Mapping[str, np.ndarray], list[ExtractorFacts]]


def _read(folder: Path) -> Stored:
    networks = [ExtractorFacts.read(facts) for facts in load_json(folder / FACTS)]
    return load_arrays(folder), networks


def _features(
    view: View, arrays: Mapping[str, np.ndarray], networks: list[ExtractorFacts]
) -> Features:
    folds = range(len(networks))
    return Features(
        view,
        folds=tuple(arrays[f"{view.resolution}/{k}"] for k in folds),
        rows=tuple(arrays[f"rows/{k}"] for k in folds),
        facts=ExtractorFacts.of_folds(networks),
    )


def every(observations: Mapping[tuple[str, int], list[Observation]]) -> Iterator[Observation]:
    """All of them, method by method."""
    for panel in observations.values():
        yield from panel
