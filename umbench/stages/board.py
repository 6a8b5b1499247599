"""Stage `board`: the final tables, pictures and report of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from umbench_metrics.panel import ExtractorFacts
from umbench_metrics.registry import get

from umbench.data.annotated_set import AnnotatedSet
from umbench.data.rows import map_arrays
from umbench.leaderboard.notes import Network, against, notes_of
from umbench.leaderboard.pictures import Samples
from umbench.leaderboard.provenance import LeftOut, Method, Presented, Provenance
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import summarise, write_leaderboard
from umbench.pipeline import Context
from umbench.stages.artifacts import (
    MODEL_FACTS,
    load_json,
    load_set,
    load_split,
    save_table,
)
from umbench.stages.scores import EXTRACTORS, LEFT_OUT, read_scores, span

if TYPE_CHECKING:
    from umbench.stages.values import Board, Producer

SHOWN = 6
TESTED = "test images"


def run(context: Context[Board]) -> None:
    """Writes leaderboard.*, scores.csv, tests.csv, dice.csv, pictures and report.html."""
    stage = context.stage
    scores = read_scores(context, stage.scores)
    tests, dice = pd.read_csv(context.folder(stage.compare) / "tests.csv"), None
    if stage.utility is not None:
        folder, text = context.folder(stage.utility), {"subject": str, "image": str}
        dice = pd.read_csv(folder / "dice.csv", keep_default_na=False, dtype=text)
        tests = pd.concat([tests, pd.read_csv(folder / "tests.csv")], ignore_index=True)
    real = load_set(context.folder(stage.real.data))
    provenance = provenance_of(context, scores, tests, real)
    board = summarise(scores, dice, tests, provenance)
    write_leaderboard(context.output, board, provenance)
    save_table(context.output / "scores.csv", scores)
    save_table(context.output / "tests.csv", tests)
    if dice is not None:
        save_table(context.output / "dice.csv", dice)
    thumbnails = _pictures(context, real, list(board["method"]))
    write_report(context.output / "report.html", board, scores, tests, thumbnails, provenance)


def _methods(stage: Board) -> tuple[Method, ...]:
    """The rows with images of their own, in the suite's order."""
    return tuple(dict.fromkeys(seen.method for seen in stage.compare.seen))


def provenance_of(
    context: Context[Board], scores: pd.DataFrame, tests: pd.DataFrame, real: AnnotatedSet
) -> Provenance:
    """What the tables were computed from, as all of them say it."""
    stage = context.stage
    reference, seen = stage.compare.reference, stage.compare.seen
    names = set(scores["metric"])
    metrics = [(get(s.metric), span(s)) for s in stage.scores]
    shown = tuple(Presented.of(m, m.shown(names, over)) for m, over in metrics)
    facts = load_json(context.folder(stage.scores[0]) / EXTRACTORS)
    notes: list[str] = []
    if reference:
        records = tests.to_dict("records")
        notes += against(reference, records, shown[0], stage.verdict)
    pairs = [Method(name, "pairs") for name in stage.pairs]
    return Provenance(
        suite=stage.suite["name"],
        methods=(*_methods(stage), *pairs),
        metrics=shown,
        verdict=stage.verdict,
        alpha=stage.compare.tests.alpha,
        extractors=tuple(
            ExtractorFacts.read(facts[name]) for name in dict.fromkeys(s.extractor for s in seen)
        ),
        resolutions=seen[0].synthetic.resolutions,
        seeds=tuple(dict.fromkeys(s.seed for s in seen)),
        n_real=int(scores["n_real"].iloc[0]),
        n_synthetic=int(scores["n_synthetic"].iloc[0]),
        reference=reference,
        left_out=(*stage.left_out, *_set_aside(context, shown)),
        notes=(*notes, *_notes(context, real)),
        settings=stage.suite,
    )


def _set_aside(context: Context[Board], shown: tuple[Presented, ...]) -> list[LeftOut]:
    """Observations that a scale had to leave out, of the scales that are shown."""
    out = []
    for score, item in zip(context.stage.scores, shown, strict=True):
        left_out = load_json(context.folder(score) / LEFT_OUT).get(item.score, {})
        out += [LeftOut(where, why) for where, why in left_out.items()]
    return out


def _notes(context: Context[Board], real: AnnotatedSet) -> list[str]:
    stage = context.stage
    networks = [
        Network(told.rows, load_json(context.folder(told.network) / MODEL_FACTS))
        for told in stage.told
    ]
    measured: dict[str, float] = {}
    if stage.superpixels is not None:
        result = load_json(context.folder(stage.superpixels) / "result.json")
        measured = result.get("measured") or {}
    classes = [name for _, name in sorted(real.info.classes.items())]
    return notes_of(
        stage.suite, _methods(stage), networks, classes,
        superpixels=measured, annotators=stage.annotators, pairs=stage.pairs,
    )  # fmt: skip


def _pictures(
    context: Context[Board], real: AnnotatedSet, ranked: list[str]
) -> dict[str, tuple[str, bytes]]:
    """Pictures of the test images and of every row that has some, the best first: name -> path of
    the picture in the run folder, and its thumbnail.
    """
    folder = context.output / "pictures"
    folder.mkdir()
    rows = {row.name: row.samples for row in context.stage.shown}
    names = [TESTED, *(name for name in ranked if name in rows)]
    thumbnails = {}
    for index, name in enumerate(names):
        samples = _samples(context, real, rows.get(name))
        path = folder / f"{name.replace(' ', '-')}.png"
        path.write_bytes(samples.png())
        thumbnails[name] = (f"pictures/{path.name}", samples.thumbnail())
        context.progress(index + 1, len(names), "pictures")
    return thumbnails


def _samples(context: Context[Board], real: AnnotatedSet, producer: Producer | None) -> Samples:
    """First images of a set, or of the test split; no others are read."""
    if producer is None:
        test = load_split(context.folder(context.stage.real.split)).rows("test")[:SHOWN]
        return _drawn(real.take(test))
    folder = context.folder(producer)
    made = load_set(folder)
    conditions = _conditions(folder)
    if conditions is not None:
        conditions = conditions[:SHOWN].reshape(-1, *conditions.shape[-2:])
    return _drawn(made.take(np.arange(min(SHOWN, len(made)))), conditions)


def _conditions(folder: Path) -> np.ndarray | None:
    """The guidance that images were made from, in whichever of a stage's files it lies; mapped."""
    for path in sorted(folder.glob("*.safetensors")):
        found = map_arrays(path).get("conditions")
        if found is not None:
            return found
    return None


def _drawn(shown: AnnotatedSet, conditions: np.ndarray | None = None) -> Samples:
    masks = None
    if shown.masks is not None:
        masks = np.searchsorted(np.array(sorted(shown.info.classes)), shown.masks)
    return Samples.of(shown.unit(), masks, conditions)
