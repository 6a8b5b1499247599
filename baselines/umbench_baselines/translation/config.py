"""Widths, schedule and losses of G2."""

from __future__ import annotations

from dataclasses import dataclass

from umbench_baselines.weights import LITE0, LITE0_SHA256

HEADS = ("both", "image", "segmentation")
JUDGES = ("errors", "shapes", "published")
"""What D^S learns. published: one-hot truth from softmax predictions. shapes: from predictions
made one-hot, too. errors: where predictions made one-hot are wrong."""


@dataclass(frozen=True)
class TranslationConfig:
    """Widths, schedule and loss weights of G2.

    width doubles with each of `down` halvings up to `cap`; `disc_down` is how often D^S halves.
    steps_supervised: labelled rows alone (stage a); steps_semi: all rows (stage b), `unlabelled`
    being the share of the others in a batch. These have pseudo-segmentations, in the most
    confident share `trusted` of the pixels of each class, where the confidence exceeds
    `confidence` (Hung et al. 2018). judge: what D^S learns. heads: both, image (M2I) or
    segmentation. paired: false drops the perceptual loss and hides the condition from D^I.
    perceptual: a network of `weights`, with the SHA-256 of its file, or "none". ema_images:
    half-life of the generator's moving average, in images.
    """

    width: int = 64
    cap: int = 1024
    down: int = 4
    blocks: int = 9
    disc_width: int = 64
    disc_scales: int = 1
    disc_down: int = 5
    steps_supervised: int = 0
    steps_semi: int = 0
    batch: int = 16
    lr: float = 2e-4
    weight_image: float = 1.0
    weight_perceptual: float = 10.0
    weight_mask_adversarial: float = 0.01
    weight_mask: float = 10.0
    gan: str = "lsgan"
    unlabelled: float = 0.5
    judge: str = "errors"
    trusted: float = 0.5
    confidence: float = 0.2
    paired: bool = True
    perceptual: str = LITE0
    perceptual_sha256: str = LITE0_SHA256
    heads: str = "both"
    ema_images: float = 500.0

    def __post_init__(self) -> None:
        if self.gan not in ("lsgan", "hinge"):
            raise ValueError(f"gan must be lsgan or hinge, not {self.gan!r}")
        if self.heads not in HEADS:
            raise ValueError(f"heads must be one of {', '.join(HEADS)}, not {self.heads!r}")
        if self.judge not in JUDGES:
            raise ValueError(f"judge must be one of {', '.join(JUDGES)}, not {self.judge!r}")

    @property
    def steps(self) -> int:
        """All steps."""
        return self.steps_supervised + self.steps_semi

    @property
    def compares_features(self) -> bool:
        """Whether there is a perceptual loss."""
        wanted = self.paired and self.weight_perceptual > 0 and self.heads != "segmentation"
        return wanted and self.perceptual != "none"
