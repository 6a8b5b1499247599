"""Annotation by pixel classifiers on a StyleGAN's features, after datasetGAN (Zhang et al. 2021).

A handful of generated images is annotated; an ensemble of small networks learns each pixel's
class from the activations that drew it, and then annotates whatever the StyleGAN draws.
"""

from umbench_baselines.datasetgan.annotate import annotate, drawn, keep
from umbench_baselines.datasetgan.classifier import (
    PRESETS,
    PixelClassifier,
    PixelClassifierConfig,
    preset,
)
from umbench_baselines.datasetgan.train import train_pixel_classifier

__all__ = [
    "PRESETS",
    "PixelClassifier",
    "PixelClassifierConfig",
    "annotate",
    "drawn",
    "keep",
    "preset",
    "train_pixel_classifier",
]
