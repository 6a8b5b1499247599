"""The leaderboard: one row per method, in tiers, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from umbench_metrics.metric import Column
from umbench_metrics.panel import ExtractorFacts

from umbench.errors import InputError
from umbench.leaderboard.provenance import Method, Presented, Provenance

SCHEMA = 2
PRESENT = ", where present"


def summarise(
    scores: pd.DataFrame, dice: pd.DataFrame | None, tests: pd.DataFrame, provenance: Provenance
) -> pd.DataFrame:
    """Mean and SD over observations per method, Dice per region, and tiers; best first.

    Controls have no tier, and no method has one where the first metric is not tested.
    """
    rows = []
    for method in provenance.methods:
        row: dict[str, Any] = {"method": method.name, "kind": method.kind}
        for column in (column for metric in provenance.metrics for column in metric.columns):
            values = _per_observation(scores, method.name, column.score)
            row[column.name], row[f"{column.name}_sd"] = values.mean(), values.std(ddof=1)
        if dice is not None:
            row |= _dice_columns(dice, method)
        first = provenance.metrics[0].score if provenance.metrics else ""
        row["normalisation"] = provenance.scale
        row["observations"] = len(_per_observation(scores, method.name, first))
        row["n_real"] = provenance.n_real * method.scored
        row["n_synthetic"] = provenance.n_synthetic * method.scored
        rows.append(row)
    board = _ordered(pd.DataFrame(rows), provenance.metrics)
    ranked = [m.name for m in provenance.methods if m.ranked]
    numbers: dict[str, int] = {}
    if provenance.metrics and provenance.metrics[0].tested:
        best_first = [name for name in board["method"] if name in ranked]
        p_values = lookup(tests, provenance.metrics[0].score, provenance.verdict)
        numbers = tiers(best_first, p_values, provenance.alpha)
    board.insert(0, "tier", [numbers.get(method) for method in board["method"]])
    board["tier"] = board["tier"].astype("Int64")
    return board.reset_index(drop=True)


def _ordered(board: pd.DataFrame, metrics: Sequence[Presented]) -> pd.DataFrame:
    """Best first by the first metric's first column; as it is without one."""
    if not metrics:
        return board
    column = metrics[0].columns[0]
    badness = _badness(board, column)
    return (
        board.assign(badness=badness)
        .sort_values(["badness", "method"], kind="stable")
        .drop(columns="badness")
    )


def _badness(board: pd.DataFrame, column: Column) -> pd.Series:
    values = board[column.name]
    if column.direction == "higher":
        return -values
    if column.direction == "near 1":
        return (values - 1).abs()
    if column.direction == "near that of real" and (board["kind"] == "real").any():
        return (values - values[board["kind"] == "real"].iloc[0]).abs()
    return values


def _per_observation(scores: pd.DataFrame, method: str, metric: str) -> pd.Series:
    chosen = scores[(scores["method"] == method) & (scores["metric"] == metric)]
    return chosen.groupby(["extractor", "resolution"])["value"].mean()


def _dice_columns(dice: pd.DataFrame, method: Method) -> dict[str, float]:
    """Dice with this method's images added; for `real`, of real images alone."""
    alone = method.kind in ("real", "pairs")
    arm = method.name if alone else f"real+{method.name}" if method.ranked else None
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


def write_leaderboard(folder: Path, board: pd.DataFrame, provenance: Provenance) -> None:
    """Write leaderboard.csv, .json and .md; the same board gives the same bytes."""
    board.to_csv(folder / "leaderboard.csv", index=False, float_format="%.10g", lineterminator="\n")
    records = json.loads(board.to_json(orient="records", double_precision=10))
    document = {"schema": SCHEMA, "provenance": provenance.document(), "rows": records}
    text = json.dumps(document, indent=1, sort_keys=True)
    (folder / "leaderboard.json").write_text(text + "\n", encoding="utf-8")
    (folder / "leaderboard.md").write_text(markdown(board, provenance), encoding="utf-8")


def read_leaderboard(folder: Path) -> tuple[pd.DataFrame, Provenance]:
    """What `write_leaderboard` wrote; InputError for a folder of another version."""
    path = folder / "leaderboard.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("schema") != SCHEMA:
        raise InputError(
            f"{path}: schema {document.get('schema')}, this version reads {SCHEMA}; run the suite "
            "again"
        )
    return pd.read_csv(folder / "leaderboard.csv"), Provenance.read(document["provenance"])


def means(metrics: Sequence[Presented]) -> dict[str, str]:
    """Headings of what is a mean over observations, and its column in the board."""
    return {c.heading: c.name for metric in metrics for c in metric.columns if c.heading}


def headings(board: pd.DataFrame, metrics: Sequence[Presented]) -> list[str]:
    """What the board can show: tier, method, means over observations, Dice per region."""
    regions = [str(c).removeprefix("dice ") for c in board if str(c).startswith("dice ")]
    shown = [r for r in regions if not r.endswith(PRESENT) or _differs(board, r)]
    return ["tier", "method", *means(metrics), *(f"Dice {r}" for r in shown)]


def cells(
    board: pd.DataFrame, shown: Sequence[str], metrics: Sequence[Presented], between: str = " "
) -> list[list[str]]:
    """One list of texts per row, for the headings in `shown`.

    between: what separates a mean from its standard deviation.
    """
    columns = means(metrics)
    return [
        [_cell(record, name, columns, between) for name in shown]
        for record in board.to_dict("records")
    ]


def _cell(record: Mapping[Any, Any], heading: str, columns: Mapping[str, str], between: str) -> str:
    if heading == "tier":
        return "" if pd.isna(record["tier"]) else str(int(record["tier"]))
    if heading == "method":
        return str(record["method"])
    if heading in columns:
        name = columns[heading]
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


def footer(provenance: Provenance) -> list[str]:
    """What the numbers were computed from, line by line."""
    p = provenance
    explained = [metric.explained for metric in p.metrics]
    sets = (
        f"n = {p.n_synthetic} images against {p.n_real} real test images; "
        f"seeds {', '.join(map(str, p.seeds))}; resolutions {', '.join(map(str, p.resolutions))}"
    )
    return [
        f"{'; '.join([*explained[:1], sets])}.",
        f"Extractors: {'; '.join(map(_extractor, p.extractors))}.",
        *(f"{sentence}." for sentence in explained[1:]),
        _tiers(p),
        *(f"Left out: {item.what}: {item.why}." for item in p.left_out),
        *(metric.note for metric in p.metrics if metric.note),
        *p.notes,
    ]


def _tiers(provenance: Provenance) -> str:
    if not (provenance.metrics and provenance.metrics[0].tested):
        return "Tiers: none, since the metric that orders the board has no test."
    return (
        f"Tiers: {provenance.verdict} test over all pairs of generators, Holm, alpha "
        f"{provenance.alpha:g}: do their images come from one distribution? No difference was "
        "found between a generator and the best of its tier."
    )


def _extractor(facts: ExtractorFacts) -> str:
    text = f"{facts.name} ({facts.backbone}, {facts.dim} features"
    if facts.n_held_out:
        text += f", held-out accuracy {facts.accuracy:.2f} on {facts.n_held_out}"
        text += f" where chance is {facts.chance:.2f}"
    text += f", {facts.fingerprint[:8]})"
    return f"{text} [{facts.flag}]" if facts.flag else text


def markdown(board: pd.DataFrame, provenance: Provenance) -> str:
    """The board as a Markdown table with its footer."""
    shown = headings(board, provenance.metrics)
    rows = cells(board, shown, provenance.metrics)
    return "\n".join(
        [
            f"# {_escaped(provenance.suite)}",
            "",
            "| " + " | ".join(map(_escaped, shown)) + " |",
            "|" + "---|" * len(shown),
            *("| " + " | ".join(map(_escaped, row)) + " |" for row in rows),
            "",
            *(f"- {_escaped(line)}" for line in footer(provenance)),
            "",
        ]
    )


def _escaped(text: str) -> str:
    """Text that Markdown takes as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
