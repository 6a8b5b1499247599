"""One HTML page: leaderboard, plots, tests, small pictures and settings.

It is complete by itself, and small at any size of the images: full pictures lie beside it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from umbench.leaderboard.plots import box_plot
from umbench.leaderboard.tables import PAIRS, cells, footer, headings


def write_report(
    path: Path,
    board: pd.DataFrame,
    scores: pd.DataFrame,
    tests: pd.DataFrame,
    thumbnails: dict[str, tuple[str, bytes]],
    meta: dict[str, Any],
) -> None:
    """Write the page. Names are escaped; nothing is loaded from elsewhere.

    thumbnails: title -> path of the full picture, relative to the page, and a small JPEG of it.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    kinds = {str(m): kind for m, kind in zip(board["method"], board["kind"], strict=True)}
    methods = [m for m, kind in kinds.items() if kind != PAIRS]
    trained = [m for m in methods if kinds[m] != "untrained"]
    scales = [
        (
            "Fidelity",
            f"mm-fid-{meta['normalisation']}",
            f"Fréchet distance, {meta['normalisation']}",
        )
    ]
    if "mm-std" in meta["metrics"]:
        scales.append(("Variety", "mm-std-relative", "feature STD / real"))
    plots = [
        (title, Markup(box_plot(scores, metric, trained, label))) for title, metric, label in scales
    ]
    shown = headings(board)
    environment = Environment(loader=PackageLoader("umbench.leaderboard"), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        meta=meta,
        headings=shown,
        rows=list(zip(cells(board, shown), board["kind"], strict=True)),
        footer=footer(meta),
        plots=plots,
        pairs=PAIRS in kinds.values(),
        observations=observation_table(scores, methods),
        tests=_texts(tests),
        pictures=[
            (name, quote(path), base64.b64encode(data).decode())
            for name, (path, data) in thumbnails.items()
        ],
        settings=json.dumps(meta.get("settings", {}), indent=1, sort_keys=True),
    )
    path.write_text(page, encoding="utf-8")


def observation_table(scores: pd.DataFrame, methods: list[str]) -> list[list[str]]:
    """Raw Fréchet distances with intervals, one row per observation, one column per method."""
    raw = scores[scores["metric"] == "frechet-distance"]
    out = [["extractor", "px", "seed", "n", *methods]]
    for (extractor, resolution, seed), part in raw.groupby(
        ["extractor", "resolution", "seed"], sort=False
    ):
        values = part.set_index("method")
        count = part["n_synthetic"].iloc[0]
        row = [str(extractor), str(resolution), str(seed), str(count)]
        for method in methods:
            v = values.loc[method]
            row.append(f"{v['value']:.4g} [{v['low']:.3g}, {v['high']:.3g}]")
        out.append(row)
    return out


def _texts(tests: pd.DataFrame) -> list[list[str]]:
    columns = {
        "metric": "metric", "a": "a", "b": "b", "n": "n", "difference": "a − b", "p": "Wilcoxon p",
        "p_holm": "Holm", "effect": "effect", "smallest_p": "least p",
        "p_resampling": "resampling p", "p_resampling_holm": "Holm ",
        "family": "family", "note": "note",
    }  # fmt: skip
    out = [list(columns.values())]
    for record in tests.fillna("").to_dict("records"):
        out.append([f"{v:.3g}" if isinstance(v := record[c], float) else str(v) for c in columns])
    return out
