"""G1: vector to mask (paper, section III.B.1)."""

from umbench_baselines.stylegan.networks import StyleGAN, StyleGANConfig, pixel_features
from umbench_baselines.stylegan.train import PRESETS, preset, train_stylegan

__all__ = [
    "PRESETS",
    "StyleGAN",
    "StyleGANConfig",
    "pixel_features",
    "preset",
    "train_stylegan",
]
