"""What `from umbench_metrics import ...` offers."""

from umbench_metrics.extractors import Extractor, load
from umbench_metrics.features import extract
from umbench_metrics.frechet import Distance, frechet_distance
from umbench_metrics.kid import KernelDistance, kernel_distance
from umbench_metrics.manifold import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from umbench_metrics.metric import Column, Measured, Metric, Plain, Resampled, Shown
from umbench_metrics.mm_std import feature_std
from umbench_metrics.overlap import DiceTable, dice
from umbench_metrics.panel import ExtractorFacts, Features, View
from umbench_metrics.scoring import score
from umbench_metrics.statistics import Moments, moments_of

__all__ = [
    "Column",
    "DensityCoverage",
    "DiceTable",
    "Distance",
    "Extractor",
    "ExtractorFacts",
    "Features",
    "KernelDistance",
    "Measured",
    "Metric",
    "Moments",
    "Plain",
    "PrecisionRecall",
    "Resampled",
    "Shown",
    "View",
    "density_coverage",
    "dice",
    "extract",
    "feature_std",
    "frechet_distance",
    "kernel_distance",
    "load",
    "moments_of",
    "precision_recall",
    "score",
]
