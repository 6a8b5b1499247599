"""A report of the paper's size; see `paper_size.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from umbench_metrics.metric import Span
from umbench_metrics.registry import get

from umbench.leaderboard.pictures import Samples
from umbench.leaderboard.provenance import Method, Presented, Provenance
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import summarise


def page_size(folder: Path, side: int) -> int:
    """Bytes of a page with the paper's 13 rows of pictures of noise, which is the worst case."""
    random = np.random.default_rng(0)
    images = random.random((6, side, side), dtype=np.float32)
    samples = Samples.of(images, random.integers(3, size=images.shape), 255 * images)
    methods = tuple(Method(f"row {k}", "generator") for k in range(12))
    names = ("mm-fid-anchored", "mm-fid-minmax", "mm-std", "mm-std-relative", "frechet-distance")
    scores = pd.DataFrame(
        {
            "method": method.name, "seed": 0, "metric": metric, "extractor": f"e{view // 4}",
            "resolution": 128 * 2 ** (view % 4), "value": random.random(), "low": 0.0, "high": 1.0,
            "n_real": 785, "n_synthetic": 785,
        }
        for method in methods for view in range(16) for metric in names
    )  # fmt: skip
    tests = pd.DataFrame(
        {
            "metric": "mm-fid-anchored", "family": "all pairs", "a": a.name, "b": b.name, "n": 16,
            "difference": -0.4, "p": 0.25, "p_holm": 0.25, "effect": -1.0, "smallest_p": 0.25,
            "p_resampling": 0.002, "p_resampling_holm": 0.002, "note": "",
        }
        for number, a in enumerate(methods) for b in methods[number + 1 :]
    )  # fmt: skip
    span = Span([method.name for method in methods], "anchored")
    metrics = [get(name) for name in ("mm-fid", "mm-std")]
    provenance = Provenance(
        suite="paper",
        methods=methods,
        metrics=tuple(Presented.of(m, m.shown(set(names), span)) for m in metrics),
        verdict="resampling", alpha=0.05, extractors=(), resolutions=(128, 256, 512, 1024),
        seeds=(0,), n_real=785, n_synthetic=785, reference="row 0",
    )  # fmt: skip
    small = samples.thumbnail()
    thumbnails = {f"row {k}": (f"pictures/row-{k}.png", small) for k in range(13)}
    folder.mkdir(exist_ok=True)
    page = folder / "report.html"
    board = summarise(scores, None, tests, provenance)
    write_report(page, board, scores, tests, thumbnails, provenance)
    return page.stat().st_size
