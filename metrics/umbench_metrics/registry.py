"""Metrics by name: the built-in ones, and those that other packages register."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from umbench_metrics.plugins import nearest, plugged

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from umbench_metrics.metric import Metric

ENTRY_POINTS = "umbench.metrics"
BUILT_IN = {
    "mm-fid": "umbench_metrics.mm_fid:MMFID",
    "mm-std": "umbench_metrics.mm_std:MMSTD",
    "kid": "umbench_metrics.kid:KID",
    "precision": "umbench_metrics.manifold:Precision",
    "recall": "umbench_metrics.manifold:Recall",
    "density": "umbench_metrics.manifold:Density",
    "coverage": "umbench_metrics.manifold:Coverage",
}
"""Name -> module:class, which is called without arguments."""


def names() -> list[str]:
    """Names of all metrics, the built-in ones first."""
    return [*BUILT_IN, *_others()]


def source(name: str) -> str:
    """The module, dotted, whose source decides what a metric measures; it is not imported."""
    return _place(name)[0]


def get(name: str) -> Metric:
    """The metric called `name`; ValueError for an unknown one, or one that cannot be loaded."""
    module, class_ = _place(name)
    try:
        metric: Metric = getattr(import_module(module), class_)()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"metric {name}: {module}:{class_} cannot be loaded: {error}") from error
    if metric.name != name:
        raise ValueError(f"metric {name}: {module}:{class_} calls itself {metric.name!r}")
    return metric


def _place(name: str) -> tuple[str, str]:
    others = _others()
    if name in BUILT_IN:
        module, class_ = BUILT_IN[name].split(":")
        return module, class_
    if name not in others:
        raise ValueError(f"no metric called {name!r}; {nearest(name, names())}")
    return others[name].module, others[name].attr


def _others() -> dict[str, EntryPoint]:
    return plugged(ENTRY_POINTS, BUILT_IN, "metric")
