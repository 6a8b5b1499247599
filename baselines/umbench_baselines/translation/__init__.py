"""G2: guided annotated image (paper, section III.B.2)."""

from umbench_baselines.translation.networks import TranslationConfig, Translator
from umbench_baselines.translation.train import preset, train_translation

__all__ = ["TranslationConfig", "Translator", "preset", "train_translation"]
