"""Losses of G2: adversarial, and soft Dice + cross entropy where pixels are trusted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.contracts import one_hot


def discriminator_loss(kind: str, real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Loss of D^I, mean over scales; kind: lsgan (Mao et al. 2017) or hinge."""
    terms = []
    for r, f in zip(real, fake, strict=True):
        r, f = r.float(), f.float()
        if kind == "lsgan":
            terms.append(0.5 * ((r - 1).square().mean() + f.square().mean()))
        else:
            terms.append(functional.relu(1 - r).mean() + functional.relu(1 + f).mean())
    return torch.stack(terms).mean()


def generator_loss(kind: str, fake: list[Tensor]) -> Tensor:
    """What G2 wants of D^I, mean over scales."""
    terms = [
        (f.float() - 1).square().mean() if kind == "lsgan" else -f.float().mean() for f in fake
    ]
    return torch.stack(terms).mean()


def mask_loss(logits: Tensor, truth: Tensor, trusted: Tensor) -> Tensor:
    """Soft Dice + cross entropy over trusted pixels.

    logits: (N, C, H, W). truth: (N, H, W) int64. trusted: (N, H, W) in {0, 1}. Dice is taken over
    the batch, class by class, so that a rare class is not averaged away; without trusted pixels
    the loss is 0.
    """
    logits, trusted = logits.float(), trusted.float()
    cross = functional.cross_entropy(logits, truth, reduction="none")
    cross = (cross * trusted).sum() / trusted.sum().clamp(min=1)
    probabilities = logits.softmax(1) * trusted[:, None]
    target = one_hot(truth, logits.shape[1]) * trusted[:, None]
    overlap = (probabilities * target).sum((0, 2, 3))
    total = probabilities.sum((0, 2, 3)) + target.sum((0, 2, 3))
    dice = 1 - (2 * overlap + 1e-5) / (total + 1e-5)
    return cross + dice.mean()


def mask_discriminator_loss(real: Tensor, fake: Tensor, right: Tensor | None = None) -> Tensor:
    """Per-pixel cross entropy of D^S on logits (N, 1, H, W): the truth is 1, predictions are 0.

    right: (N, H, W) bool, where predictions are the truth: 1 there too.
    """
    loss = functional.binary_cross_entropy_with_logits
    wanted = torch.zeros_like(fake) if right is None else right[:, None].to(fake.dtype)
    real, fake = real.float(), fake.float()
    return 0.5 * (loss(real, torch.ones_like(real)) + loss(fake, wanted.float()))
