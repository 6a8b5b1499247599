"""Annotation by pixel classifiers on a StyleGAN's features (Zhang et al. 2021)."""

from umbench_baselines.datasetgan.classifier import (
    PRESETS,
    PixelClassifier,
    PixelClassifierConfig,
    annotate,
    preset,
    train_pixel_classifier,
)

__all__ = [
    "PRESETS",
    "PixelClassifier",
    "PixelClassifierConfig",
    "annotate",
    "preset",
    "train_pixel_classifier",
]
