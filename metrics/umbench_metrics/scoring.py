"""Scores as a tidy table: a row per method, seed, view and metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from umbench_metrics import registry
from umbench_metrics.metric import Metric
from umbench_metrics.panel import ExtractorFacts, Features, View

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


def score_row(
    metric: Metric, real: Features, synthetic: Features, *, method: str, seed: int = 0
) -> dict[str, Any]:
    """What is measured of a method's images in one observation, as a row of scores.csv.

    seed: of the training, and of what the metric draws.
    """
    measured = metric.value(real, synthetic, seed)
    return {
        "method": method,
        "seed": seed,
        "extractor": synthetic.view.name,
        "backbone": synthetic.facts.backbone,
        "resolution": synthetic.view.resolution,
        "subgroup": "all",
        "n_real": real.n,
        "n_synthetic": synthetic.n,
        "folds": len(synthetic.folds),
        "flag": synthetic.facts.flag,
        "fingerprint": synthetic.facts.fingerprint,
        "metric": metric.score,
        "direction": metric.direction,
        "value": measured.value,
        "low": measured.low,
        "high": measured.high,
    }


def score(
    real: Tensor,
    synthetic: Tensor,
    *,
    metrics: Sequence[str] = ("mm-fid", "mm-std"),
    extractors: Sequence[str] = ("efficientnet-lite0",),
    resolutions: Sequence[int] = (224,),
    method: str = "synthetic",
    seed: int = 0,
) -> pd.DataFrame:
    """Raw scores of images against real ones, a row per extractor, resolution and metric.

    Images: (N, 1, H, W) in [0, 1], at least 2 of each. metrics, extractors: names of the
    registries; both lists may hold names that other packages registered. seed: of bootstraps.
    ValueError for unknown names, missing weights and values out of range.
    """
    import pandas as pd

    from umbench_metrics.extractors import load
    from umbench_metrics.features import extract

    chosen = [registry.get(name) for name in metrics]
    rows = []
    for name in extractors:
        network = load(name)
        facts = ExtractorFacts.of_folds([ExtractorFacts.of(network)])
        for resolution in resolutions:
            seen = [
                Features(
                    View(name, resolution),
                    (extract(network, images, resolution),),
                    (np.arange(len(images)),),
                    facts,
                )
                for images in (real, synthetic)
            ]
            rows += [score_row(metric, *seen, method=method, seed=seed) for metric in chosen]
    return pd.DataFrame(rows)
