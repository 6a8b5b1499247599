"""Stage `board`: the final tables, pictures and report of a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from umbench.data.annotated_set import AnnotatedSet
from umbench.data.rows import map_arrays
from umbench.leaderboard.notes import Translator, against, notes_of
from umbench.leaderboard.pictures import Samples
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import PAIRS, summarise, write_leaderboard
from umbench.pipeline import Context
from umbench.stages.artifacts import load_json, load_set, load_split, save_table
from umbench.stages.compare import scale_name

SHOWN = 6
TESTED = "test images"


def run(context: Context) -> None:
    """Params: those of `compare`, the suite, what was left out, psi, annotators, translators
    (input role -> the rows that use it).
    """
    params = context.stage.params
    scores = pd.read_csv(context.inputs["scores"] / "scores.csv", keep_default_na=True)
    scores["flag"] = scores["flag"].fillna("")
    tests = pd.read_csv(context.inputs["compare"] / "tests.csv")
    dice_path = context.inputs["compare"] / "dice.csv"
    dice = None
    if dice_path.exists():
        text = {"subject": str, "image": str}
        dice = pd.read_csv(dice_path, keep_default_na=False, dtype=text)
    real = load_set(context.inputs["data"])
    meta = _meta(context, scores, tests, [name for _, name in sorted(real.info.classes.items())])
    kinds = {m["name"]: m["kind"] for m in params["methods"]}
    kinds |= dict.fromkeys(params["pairs"], PAIRS)
    board = summarise(scores, dice, tests, kinds, meta)
    write_leaderboard(context.output, board, meta)
    save_table(context.output / "scores.csv", scores)
    save_table(context.output / "tests.csv", tests)
    if dice is not None:
        save_table(context.output / "dice.csv", dice)
    folder = context.output / "pictures"
    folder.mkdir()
    thumbnails = {}
    shown = [TESTED, *board.loc[board["kind"] != PAIRS, "method"]]
    for index, name in enumerate(shown):
        samples = _samples(context, name, real)
        path = folder / f"{name.replace(' ', '-')}.png"
        path.write_bytes(samples.png())
        thumbnails[name] = (f"pictures/{path.name}", samples.thumbnail())
        context.progress(index + 1, len(shown), "pictures")
    write_report(context.output / "report.html", board, scores, tests, thumbnails, meta)


def _meta(
    context: Context, scores: pd.DataFrame, tests: pd.DataFrame, classes: list[str]
) -> dict[str, Any]:
    params = context.stage.params
    settings, shown = params["statistics"], scale_name(scores, params["statistics"])
    extractors = load_json(context.inputs["scores"] / "extractors.json")
    set_aside = load_json(context.inputs["scores"] / "scales.json")
    notes = notes_of(params, _translators(context), classes, _superpixels(context))
    if settings["reference"]:
        records = tests.to_dict("records")
        notes = (
            against(settings["reference"], records, f"mm-fid-{shown}", settings["verdict"]) + notes
        )
    if shown != settings["normalisation"]:
        notes.insert(
            0,
            f"MM-FID is {shown}, not {settings['normalisation']}: in no observation does degraded "
            "score above real.",
        )
    return {
        "suite": params["suite"]["name"],
        "metrics": params["metrics"],
        "normalisation": shown,
        "verdict": settings["verdict"],
        "alpha": settings["alpha"],
        "reference": settings["reference"],
        "extractors": [extractors[name] for name in params["extractors"]],
        "resolutions": params["resolutions"],
        "seeds": params["seeds"],
        "n_real": int(scores["n_real"].iloc[0]),
        "n_synthetic": int(scores["n_synthetic"].iloc[0]),
        "left_out": [*params["left_out"], *set_aside.get(shown, [])],
        "notes": notes,
        "settings": params["suite"],
    }


def _translators(context: Context) -> list[Translator]:
    return [
        Translator(rows, load_json(context.inputs[role] / "model.json"))
        for role, rows in sorted(context.stage.params["translators"].items())
    ]


def _superpixels(context: Context) -> dict[str, float]:
    """How many superpixels were asked for, and how many came."""
    if "superpixels" not in context.inputs:
        return {}
    result = load_json(context.inputs["superpixels"] / "result.json")
    measured: dict[str, float] = result.get("measured") or {}
    return measured


def _samples(context: Context, name: str, real: AnnotatedSet) -> Samples:
    """A row's first images at the first seed; no others are read."""
    if name == TESTED:
        test = load_split(context.inputs["split"]).rows("test")[:SHOWN]
        return _drawn(real.take(test))
    folder = context.inputs[f"samples {name}|{context.stage.params['seeds'][0]}"]
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
