"""Stage `scores`: Fréchet distance and feature STD per method and observation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.panel import MODES, normalise
from umbench_metrics.variety import feature_std

from umbench.pipeline import Context
from umbench.stages.artifacts import load_arrays, load_json, save_json, save_table

BOOTSTRAP = 200
FRECHET, VARIETY, RELATIVE = "frechet-distance", "mm-std", "mm-std-relative"


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
    """What is known of an extractor; of the networks of all folds where there are several."""
    networks = load_json(folder / "extractor.json")
    fingerprints = [str(network["fingerprint"]) for network in networks]
    accuracies = [network["accuracy"] for network in networks if network["accuracy"] is not None]
    return {
        **networks[0],
        "fingerprint": _joined(fingerprints),
        "flag": "; ".join(sorted({network["flag"] for network in networks} - {""})),
        "folds": len(networks),
        "accuracy": float(np.mean(accuracies)) if accuracies else None,
    }


def _joined(fingerprints: list[str]) -> str:
    """One network's own fingerprint, or a hash over those of several."""
    if len(fingerprints) == 1:
        return fingerprints[0][:16]
    return hashlib.sha256("+".join(fingerprints).encode()).hexdigest()[:16]


def _over_seeds(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Facts of one extractor, merged over training seeds: no flag of any seed is lost."""
    distinct = list({facts["fingerprint"]: facts for facts in found}.values())
    accuracies = [facts["accuracy"] for facts in distinct if facts["accuracy"] is not None]
    return {
        **distinct[0],
        "fingerprint": _joined([facts["fingerprint"] for facts in distinct]),
        "flag": "; ".join(sorted({facts["flag"] for facts in distinct} - {""})),
        "accuracy": float(np.mean(accuracies)) if accuracies else None,
    }


def run(context: Context) -> None:
    """Params: methods, extractors, resolutions, seeds. Writes scores.csv, tidy, and scales.json:
    what had to be left out of a scale, and why.
    """
    rows = []
    observations = read_observations(context)
    for index, ((method, seed), panel) in enumerate(observations.items()):
        for observation in panel:
            rows += _measure(method, seed, observation)
        context.progress(index + 1, len(observations), "scores")
    table = pd.DataFrame(rows)
    extractors: dict[str, list[dict[str, Any]]] = {}
    for observation in (o for panel in observations.values() for o in panel):
        extractors.setdefault(observation.extractor, []).append(observation.facts)
    merged = {name: {**_over_seeds(found), "name": name} for name, found in extractors.items()}
    save_json(context.output / "extractors.json", merged)
    methods = context.stage.params["methods"]
    generators = [m["name"] for m in methods if m["kind"] == "generator"]
    scaled, left_out = _normalised(table, generators)
    save_json(context.output / "scales.json", left_out)
    save_table(context.output / "scores.csv", pd.concat([table, *scaled, _relative(table)]))


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
            "direction": "near that of real",
            "value": variety,
            "low": np.nan,
            "high": np.nan,
        },
    ]


def _normalised(
    table: pd.DataFrame, generators: list[str]
) -> tuple[list[pd.DataFrame], dict[str, list[dict[str, str]]]]:
    """Raw distances on every scale that can be had, and what each scale leaves out.

    minmax is spanned by the generators alone, as in the paper: controls are shown on that scale,
    and may lie outside [0, 1].
    """
    raw = table[table["metric"] == FRECHET]
    raw = raw.assign(observation=raw["extractor"] + "@" + raw["resolution"].astype(str))
    anchors = {"real", "degraded"} <= set(raw["method"])
    without = _without_scale(raw) if anchors else {}
    kept = raw[~raw["observation"].isin(list(without))] if anchors else raw[:0]
    out = []
    for mode, part in zip(MODES, (kept, raw, raw), strict=True):
        for _, one in part.groupby("seed", sort=True):
            values = normalise(one, mode, spanning=generators)["value"]
            scaled = one.drop(columns="observation").assign(metric=f"mm-fid-{mode}", value=values)
            out.append(scaled.assign(low=np.nan, high=np.nan))
    return out, {"anchored": [{"what": what, "why": why} for what, why in without.items()]}


def _without_scale(raw: pd.DataFrame) -> dict[str, str]:
    """Observation -> why it has no anchored scale: at some seed its anchors are upside down.

    It is set aside at every seed, so that all seeds are means over the same observations.
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


def _relative(table: pd.DataFrame) -> pd.DataFrame:
    """Feature STDs over that of `real`: 1 is as varied as held-out images.

    Extractors differ by orders of magnitude in the spread of their features, so that a mean of
    raw values over observations would be one extractor's. Without `real` the unit is the mean
    over methods.
    """
    raw = table[table["metric"] == VARIETY]
    keys = ["seed", "extractor", "resolution"]
    unit = raw[raw["method"] == "real"] if (raw["method"] == "real").any() else raw
    units = unit.groupby(keys)["value"].mean().rename("unit").reset_index()
    joined = raw.merge(units, on=keys, how="left", validate="many_to_one")
    values = joined["value"] / joined["unit"]
    return joined.drop(columns="unit").assign(metric=RELATIVE, direction="near 1", value=values)
