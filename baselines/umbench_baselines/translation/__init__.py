"""G2: guided annotated image (paper, section III.B.2)."""

from umbench_baselines.translation.networks import TranslationConfig, Translator
from umbench_baselines.translation.presets import preset
from umbench_baselines.translation.pseudo import read_pseudo
from umbench_baselines.translation.train import train_translation

__all__ = ["TranslationConfig", "Translator", "preset", "read_pseudo", "train_translation"]
