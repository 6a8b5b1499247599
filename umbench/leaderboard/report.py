"""One HTML page: leaderboard, plots, tests, small pictures and settings.

It is complete by itself, and small at any size of the images: full pictures lie beside it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pandas as pd

from umbench.leaderboard.plots import box_plot
from umbench.leaderboard.provenance import Provenance
from umbench.leaderboard.tables import cells, footer, headings

if TYPE_CHECKING:
    from markupsafe import Markup


def write_report(
    path: Path,
    board: pd.DataFrame,
    scores: pd.DataFrame,
    tests: pd.DataFrame,
    thumbnails: dict[str, tuple[str, bytes]],
    provenance: Provenance,
) -> None:
    """Write the page. Names are escaped; nothing is loaded from elsewhere.

    thumbnails: title -> path of the full picture, relative to the page, and a small JPEG of it.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    kinds = {method.name: method for method in provenance.methods}
    methods = [name for name in board["method"] if kinds[name].scored]
    trained = [name for name in methods if kinds[name].kind != "untrained"]
    metrics, shown = provenance.metrics, headings(board, provenance.metrics)
    environment = Environment(loader=PackageLoader("umbench.leaderboard"), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        provenance=provenance,
        headings=shown,
        rows=[(row, kinds[row[1]].ranked) for row in cells(board, shown, metrics)],
        footer=footer(provenance),
        readings=[_emphasised(metric.reading) for metric in metrics if metric.reading],
        plots=[
            (
                metric.aspect,
                Markup(box_plot(scores, metric.score, trained, metric.columns[0].axis)),
            )
            for metric in metrics
        ],
        tested=any(metric.tested for metric in metrics[:1]),
        dice=any(heading.startswith("Dice ") for heading in shown),
        pairs=any(method.kind == "pairs" for method in provenance.methods),
        raw=[
            (metric.values, metric.interval, observation_table(scores, metric.raw, methods))
            for metric in metrics
            if metric.interval
        ],
        tests=_texts(tests),
        pictures=[
            (name, quote(path), base64.b64encode(data).decode())
            for name, (path, data) in thumbnails.items()
        ],
        settings=json.dumps(dict(provenance.settings), indent=1, sort_keys=True),
    )
    path.write_text(page, encoding="utf-8")


def _emphasised(text: str) -> Markup:
    """Escaped text with *words* set in italics.

    >>> str(_emphasised("as *real*, < 1"))
    'as <em>real</em>, &lt; 1'
    """
    from markupsafe import Markup, escape

    return Markup(re.sub(r"\*([\w -]+)\*", r"<em>\1</em>", str(escape(text))))


def observation_table(scores: pd.DataFrame, raw: str, methods: Sequence[str]) -> list[list[str]]:
    """Raw values with intervals, one row per observation, one column per method."""
    chosen = scores[scores["metric"] == raw]
    out = [["extractor", "px", "seed", "n", *methods]]
    for (extractor, resolution, seed), part in chosen.groupby(
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
