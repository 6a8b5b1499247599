"""G1: vector to mask (paper, section III.B.1)."""

from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.networks import StyleGAN
from umbench_baselines.stylegan.presets import PRESETS, preset
from umbench_baselines.stylegan.source import Source
from umbench_baselines.stylegan.train import train_stylegan

__all__ = [
    "PRESETS",
    "Source",
    "StyleGAN",
    "StyleGANConfig",
    "preset",
    "train_stylegan",
]
