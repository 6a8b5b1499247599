"""Stage `scores`: Fréchet distance and feature STD per method and observation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.panel import normalise
from umbench_metrics.variety import feature_std

from umbench.pipeline import Context
from umbench.stages.artifacts import load_arrays, save_json, save_table

BOOTSTRAP = 200
FRECHET, VARIETY = "frechet-distance", "mm-std"


@dataclass(frozen=True)
class Observation:
    """Features of one method and the reference, seen by one extractor at one resolution.

    `real` and `synthetic` hold one array (n, dim) per fold; `rows` the image numbers behind.
    """

    extractor: str
    resolution: int
    real: list[np.ndarray]
    synthetic: list[np.ndarray]
    rows: list[np.ndarray]
    facts: dict[str, Any]


def read_observations(context: Context) -> dict[tuple[str, int], list[Observation]]:
    """(method, seed) -> its observations, all cut to the same number of images per fold."""
    params = context.stage.params
    stored = {
        role: (load_arrays(path), _facts(path))
        for role, path in context.inputs.items()
        if role.count("|") == 2
    }
    folds = {
        role: sum(key.startswith("rows/") for key in arrays) for role, (arrays, _) in stored.items()
    }
    out: dict[tuple[str, int], list[Observation]] = {}
    for extractor in params["extractors"]:
        roles = [role for role in stored if role.endswith(f"|{extractor}")]
        limits = [
            min(len(stored[r][0][f"rows/{k}"]) for r in roles if not r.startswith("reference|"))
            for k in range(folds[roles[0]])
        ]
        for method in params["methods"]:
            key = (method["name"], method["seed"])
            arrays, facts = stored[f"{method['name']}|{method['seed']}|{extractor}"]
            real, _ = stored[f"reference|{method['seed']}|{extractor}"]
            for resolution in params["resolutions"]:
                out.setdefault(key, []).append(
                    Observation(
                        extractor=extractor,
                        resolution=resolution,
                        real=[real[f"{resolution}/{k}"] for k in range(len(limits))],
                        synthetic=[
                            arrays[f"{resolution}/{k}"][:limit] for k, limit in enumerate(limits)
                        ],
                        rows=[arrays[f"rows/{k}"][:limit] for k, limit in enumerate(limits)],
                        facts=facts,
                    )
                )
    return out


def _facts(folder: Path) -> dict[str, Any]:
    networks = json.loads((folder / "extractor.json").read_text())
    joined = "+".join(network["fingerprint"] for network in networks)
    flags = sorted({network["flag"] for network in networks} - {""})
    return {
        **networks[0],
        "fingerprint": hashlib.sha256(joined.encode()).hexdigest()[:16],
        "flag": "; ".join(flags),
        "folds": len(networks),
        "accuracies": [network["accuracy"] for network in networks],
    }


def run(context: Context) -> None:
    """Params: methods, extractors, resolutions, seeds. Writes scores.csv, tidy."""
    rows = []
    observations = read_observations(context)
    for index, ((method, seed), panel) in enumerate(observations.items()):
        for observation in panel:
            rows += _measure(method, seed, observation)
        context.progress(index + 1, len(observations), "scores")
    table = pd.DataFrame(rows)
    extractors = {o.extractor: o.facts for panel in observations.values() for o in panel}
    save_json(context.output / "extractors.json", extractors)
    save_table(context.output / "scores.csv", pd.concat([table, *_normalised(table)]))


def _measure(method: str, seed: int, observation: Observation) -> list[dict[str, Any]]:
    """Raw distance (mean over folds) with a bootstrap interval, and the feature STD."""
    distances = [
        frechet_distance(real, synthetic, bootstrap=BOOTSTRAP, seed=seed)
        for real, synthetic in zip(observation.real, observation.synthetic, strict=True)
    ]
    low, high = (
        float(np.mean([d.interval[side] for d in distances if d.interval])) for side in (0, 1)
    )
    common = {
        "method": method,
        "seed": seed,
        "extractor": observation.extractor,
        "backbone": observation.facts["backbone"],
        "resolution": observation.resolution,
        "subgroup": "all",
        "n_real": len(observation.real[0]),
        "n_synthetic": sum(len(part) for part in observation.synthetic),
        "folds": len(observation.synthetic),
        "flag": observation.facts["flag"],
        "fingerprint": observation.facts["fingerprint"],
    }
    distance = {"value": float(np.mean([d.value for d in distances])), "low": low, "high": high}
    variety = float(np.mean([feature_std(part) for part in observation.synthetic]))
    return [
        {**common, "metric": FRECHET, "direction": "lower", **distance},
        {
            **common,
            "metric": VARIETY,
            "direction": "higher",
            "value": variety,
            "low": np.nan,
            "high": np.nan,
        },
    ]


def _normalised(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Raw distances on the paper's scale, and on the anchored one where both anchors are."""
    raw = table[table["metric"] == FRECHET]
    anchors = {"real", "degraded"} <= set(raw["method"])
    out = []
    for mode in ("minmax", "anchored") if anchors else ("minmax",):
        for _, part in raw.groupby("seed", sort=True):
            observation = part["extractor"] + "@" + part["resolution"].astype(str)
            values = normalise(part.assign(observation=observation), mode)["value"]
            scaled = part.assign(metric=f"mm-fid-{mode}", value=values.to_numpy())
            out.append(scaled.assign(low=np.nan, high=np.nan))
    return out
