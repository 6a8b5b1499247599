"""Stage `board`: the final tables, pictures and report of a suite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from umbench.data.annotated_set import AnnotatedSet
from umbench.leaderboard.pictures import sample_grid
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import summarise, write_leaderboard
from umbench.pipeline import Context
from umbench.stages.artifacts import load_arrays, load_set, load_split, save_table
from umbench.stages.compare import scale_name
from umbench.suite.plan import PSI

SHOWN = 6


def run(context: Context) -> None:
    """Params: those of the panel, the suite, what was left out."""
    params = context.stage.params
    scores = pd.read_csv(context.inputs["scores"] / "scores.csv", keep_default_na=True)
    scores["flag"] = scores["flag"].fillna("")
    tests = pd.read_csv(context.inputs["compare"] / "tests.csv")
    dice_path = context.inputs["compare"] / "dice.csv"
    dice = None
    if dice_path.exists():
        text = {"subject": str, "image": str}
        dice = pd.read_csv(dice_path, keep_default_na=False, dtype=text)
    meta = _meta(context, scores)
    kinds = {m["name"]: m["kind"] for m in params["methods"]}
    board = summarise(scores, dice, tests, kinds, meta)
    write_leaderboard(context.output, board, meta)
    save_table(context.output / "scores.csv", scores)
    save_table(context.output / "tests.csv", tests)
    if dice is not None:
        save_table(context.output / "dice.csv", dice)
    pictures = _pictures(context, list(board["method"]))
    (context.output / "pictures").mkdir()
    for name, data in pictures.items():
        (context.output / "pictures" / f"{name.replace(' ', '-')}.png").write_bytes(data)
    write_report(context.output / "report.html", board, scores, tests, pictures, meta)


def _meta(context: Context, scores: pd.DataFrame) -> dict[str, Any]:
    params = context.stage.params
    settings = params["statistics"]
    facts = {}
    for name in params["extractors"]:
        facts[name] = json.loads((context.inputs["scores"] / "extractors.json").read_text())[name]
    notes = [
        f"{entry}: annotated by {who}, not by a person."
        for entry, who in sorted(params["annotators"].items())
    ]
    notes += _readings(params)
    used = sorted({t["perceptual"] for t in _perceptual(context)})
    if used:
        notes.append(f"Perceptual loss of the translators: {', '.join(used)}.")
    return {
        "suite": params["suite"]["name"],
        "normalisation": scale_name(scores, settings),
        "verdict": settings["verdict"],
        "alpha": settings["alpha"],
        "reference": settings["reference"],
        "extractors": list(facts.values()),
        "resolutions": params["resolutions"],
        "seeds": params["seeds"],
        "n_real": int(scores["n_real"].iloc[0]),
        "n_synthetic": int(scores["n_synthetic"].iloc[0]),
        "left_out": params["left_out"],
        "notes": notes,
        "settings": params["suite"],
    }


def _readings(params: Mapping[str, Any]) -> list[str]:
    """What else the numbers depend on: guidance, truncation, masks, this very training."""
    suite = params["suite"]
    guidance, labelled = suite["guidance"], suite.get("labelled", "all")
    psi = PSI[suite["training"]["preset"]]
    notes = [
        f"Guidance: {guidance['superpixels']}, {guidance['count']} superpixels per tile, "
        f"t = {guidance['t']}; truncation psi = {psi:g}; preset {suite['training']['preset']}; "
        f"label masks of {labelled} train images.",
        "Verdicts are about these trained networks: trained anew, with another seed, they may "
        "differ more than their images do.",
    ]
    made = [m for m in params["methods"] if m["kind"] == "generator"]
    by_masks = [m["name"] for m in made if m["conditions"] == "masks"]
    if by_masks:
        notes.append(
            f"{', '.join(dict.fromkeys(by_masks))}: made from label masks of held-out images, "
            "which are annotations that the other rows do not use."
        )
    return notes


def _perceptual(context: Context) -> list[dict[str, Any]]:
    return [
        json.loads((folder / "model.json").read_text())
        for role, folder in context.inputs.items()
        if role.startswith("translator ")
    ]


def _pictures(context: Context, methods: list[str]) -> dict[str, bytes]:
    """A grid of each method's first images at the first seed, in the board's order."""
    seed = context.stage.params["seeds"][0]
    out = {}
    real, split = load_set(context.inputs["data"]), load_split(context.inputs["split"])
    test = real.take(split.rows("test")[:SHOWN])
    out["test images"] = sample_grid(test.unit(), _indices(test))
    for method in methods:
        folder: Path = context.inputs[f"samples {method}|{seed}"]
        shown = load_set(folder)
        shown = shown.take(np.arange(min(SHOWN, len(shown))))
        arrays = load_arrays(folder)
        conditions = arrays["conditions"][:SHOWN, 0] if "conditions" in arrays else None
        out[method] = sample_grid(shown.unit(), _indices(shown), conditions)
    return out


def _indices(data: AnnotatedSet) -> np.ndarray | None:
    if data.masks is None:
        return None
    return np.searchsorted(np.array(sorted(data.info.classes)), data.masks)
