"""The leaderboard: one row per method, in tiers, and how it is written.

`meta` is a plain dictionary that the outputs share: suite, metrics, normalisation, verdict, alpha,
extractors (list of name, backbone, dim, fingerprint, accuracy, n_held_out, flag), resolutions,
seeds, n_real, n_synthetic, left_out (list of what, why), notes (list of text), reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

PRESENT = ", where present"
PAIRS = "pairs"
"""Kind of a row that is an arm of the utility alone: it has no images of its own to score."""


def summarise(
    scores: pd.DataFrame,
    dice: pd.DataFrame | None,
    tests: pd.DataFrame,
    kinds: dict[str, str],
    meta: dict[str, Any],
) -> pd.DataFrame:
    """Mean and SD over observations per method, Dice per region, and tiers; best first.

    kinds: method -> generator, untrained, real, degraded or pairs. Controls have no tier.
    """
    fidelity = f"mm-fid-{meta['normalisation']}"
    rows = []
    for method, kind in kinds.items():
        row: dict[str, Any] = {"method": method, "kind": kind}
        columns = {"mm_fid": fidelity, "mm_fid_minmax": "mm-fid-minmax"}
        if "mm-std" in meta["metrics"]:
            columns |= {"mm_std": "mm-std-relative", "mm_std_raw": "mm-std"}
        for name, metric in columns.items():
            values = _per_observation(scores, method, metric)
            row[name], row[f"{name}_sd"] = values.mean(), values.std(ddof=1)
        if dice is not None:
            row |= _dice_columns(dice, method, kind)
        row["normalisation"] = meta["normalisation"]
        row["observations"] = len(_per_observation(scores, method, fidelity))
        seen = kind != PAIRS
        row["n_real"], row["n_synthetic"] = (meta[k] * seen for k in ("n_real", "n_synthetic"))
        rows.append(row)
    board = pd.DataFrame(rows).sort_values(["mm_fid", "method"], kind="stable")
    ranked = list(board.loc[board["kind"] == "generator", "method"])
    numbers = tiers(ranked, lookup(tests, fidelity, meta["verdict"]), meta["alpha"])
    board.insert(0, "tier", [numbers.get(method) for method in board["method"]])
    board["tier"] = board["tier"].astype("Int64")
    return board.reset_index(drop=True)


def _per_observation(scores: pd.DataFrame, method: str, metric: str) -> pd.Series:
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.groupby(["extractor", "resolution"])["value"].mean()


def _dice_columns(dice: pd.DataFrame, method: str, kind: str) -> dict[str, float]:
    """Dice with this method's images added; for `real`, of real images alone."""
    arm = method if kind in ("real", PAIRS) else f"real+{method}" if kind == "generator" else None
    out = {}
    for region in dict.fromkeys(dice["region"]):
        part = dice[(dice["method"] == arm) & (dice["region"] == region)]
        present = part[~part["empty"].isin(["both", "truth"])]
        out[f"dice {region}"] = _over_subjects(part)
        out[f"dice {region}, where present"] = _over_subjects(present)
        out[f"empty {region} in truth"] = int(part["empty"].isin(["both", "truth"]).sum())
        out[f"empty {region} in both"] = int((part["empty"] == "both").sum())
    return out


def _over_subjects(part: pd.DataFrame) -> float:
    """Mean over subjects of the mean over their test images and seeds, as the tests see it."""
    return float(part.groupby("subject")["value"].mean().mean())


def lookup(tests: pd.DataFrame, metric: str, verdict: str) -> dict[frozenset[str], float]:
    """Pair -> Holm-adjusted p of the test that gives the verdict."""
    column = "p_resampling_holm" if verdict == "resampling" else "p_holm"
    chosen = tests[tests["metric"] == metric]
    return {
        frozenset((a, b)): float(p)
        for a, b, p in zip(chosen["a"], chosen["b"], chosen[column], strict=True)
    }


def tiers(ranked: list[str], p_values: dict[frozenset[str], float], alpha: float) -> dict[str, int]:
    """Tier numbers of methods ranked best first.

    A new tier starts at the first method that differs from the best of the current tier; two
    methods of one tier may still differ from each other.

    >>> p = {frozenset("ab"): 0.5, frozenset("ac"): 0.01, frozenset("bc"): 0.3}
    >>> tiers(["a", "b", "c"], p, 0.05)
    {'a': 1, 'b': 1, 'c': 2}
    """
    numbers: dict[str, int] = {}
    best, tier = "", 0
    for method in ranked:
        if not best or p_values.get(frozenset((best, method)), 1.0) < alpha:
            best, tier = method, tier + 1
        numbers[method] = tier
    return numbers


def write_leaderboard(folder: Path, board: pd.DataFrame, meta: dict[str, Any]) -> None:
    """Write leaderboard.csv, .json and .md; the same board gives the same bytes."""
    board.to_csv(folder / "leaderboard.csv", index=False, float_format="%.10g", lineterminator="\n")
    records = json.loads(board.to_json(orient="records", double_precision=10))
    text = json.dumps({"schema": 1, "meta": meta, "rows": records}, indent=1, sort_keys=True)
    (folder / "leaderboard.json").write_text(text + "\n", encoding="utf-8")
    (folder / "leaderboard.md").write_text(markdown(board, meta), encoding="utf-8")


MEANS = {"MM-FID": "mm_fid", "min-max": "mm_fid_minmax", "MM-STD": "mm_std"}
"""Headings of what is a mean over observations, and its column in the board."""


def headings(board: pd.DataFrame) -> list[str]:
    """What the board can show: tier, method, means over observations, Dice per region."""
    regions = [str(c).removeprefix("dice ") for c in board if str(c).startswith("dice ")]
    shown = [r for r in regions if not r.endswith(PRESENT) or _differs(board, r)]
    means = [heading for heading, column in MEANS.items() if column in board]
    return ["tier", "method", *means, *(f"Dice {r}" for r in shown)]


def cells(board: pd.DataFrame, shown: Sequence[str], between: str = " ") -> list[list[str]]:
    """One list of texts per row, for the headings in `shown`.

    between: what separates a mean from its standard deviation.
    """
    return [[_cell(record, name, between) for name in shown] for record in board.to_dict("records")]


def _cell(record: Mapping[Any, Any], heading: str, between: str) -> str:
    if heading == "tier":
        return "" if pd.isna(record["tier"]) else str(int(record["tier"]))
    if heading == "method":
        return str(record["method"])
    if heading in MEANS:
        name = MEANS[heading]
        return _number(record[name], record[f"{name}_sd"], between)
    return _number(record[heading.replace("Dice", "dice", 1)])


def _differs(board: pd.DataFrame, region: str) -> bool:
    """Whether some test images lack the region, so that both means are worth a column."""
    return bool(board.get(f"empty {region.removesuffix(PRESENT)} in truth", pd.Series([0])).max())


def _number(value: float, spread: float | None = None, between: str = " ") -> str:
    if pd.isna(value):
        return "–"
    if spread is None or pd.isna(spread):
        return f"{value:.3f}"
    return f"{value:.3f}{between}± {spread:.3f}"


def footer(meta: dict[str, Any]) -> list[str]:
    """What the numbers were computed from, line by line."""
    lines = [
        f"MM-FID: mean ± SD over observations, {meta['normalisation']}, lower is better; min-max "
        "is spanned by the generators alone; "
        f"n = {meta['n_synthetic']} images against {meta['n_real']} real test images; "
        f"seeds {', '.join(map(str, meta['seeds']))}; "
        f"resolutions {', '.join(map(str, meta['resolutions']))}.",
        "Extractors: " + "; ".join(_extractor(e) for e in meta["extractors"]) + ".",
        f"Tiers: {meta['verdict']} test over all pairs of generators, Holm, alpha "
        f"{meta['alpha']:g}: do their images come from one distribution? No difference was found "
        "between a generator and the best of its tier.",
    ]
    if "mm-std" in meta["metrics"]:
        lines.insert(
            2,
            "MM-STD: feature STD over that of `real`, mean ± SD over observations; 1 is as varied "
            "as held-out images (without `real`: over the mean of all methods).",
        )
    lines += [f"Left out: {item['what']}: {item['why']}." for item in meta["left_out"]]
    return lines + list(meta["notes"])


def _extractor(facts: dict[str, Any]) -> str:
    text = f"{facts['name']} ({facts['backbone']}, {facts['dim']} features"
    if facts.get("n_held_out"):
        text += f", held-out accuracy {facts['accuracy']:.2f} on {facts['n_held_out']}"
        text += f" where chance is {facts['chance']:.2f}"
    text += f", {facts['fingerprint'][:8]})"
    return f"{text} [{facts['flag']}]" if facts["flag"] else text


def markdown(board: pd.DataFrame, meta: dict[str, Any]) -> str:
    """The board as a Markdown table with its footer."""
    shown = headings(board)
    lines = [f"# {_escaped(str(meta['suite']))}", "", "| " + " | ".join(shown) + " |"]
    lines.append("|" + "---|" * len(shown))
    lines += [
        "| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in cells(board, shown)
    ]
    return "\n".join([*lines, "", *(f"- {_escaped(line)}" for line in footer(meta)), ""])


def _escaped(text: str) -> str:
    """Text that Markdown takes as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
