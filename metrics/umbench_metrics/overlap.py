"""Dice per image and class, with a rule for empty masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DiceTable:
    """values: (N, C) in [0, 1]. in_truth, in_prediction: (N, C) whether the class occurs."""

    values: np.ndarray
    in_truth: np.ndarray
    in_prediction: np.ndarray


def dice(predicted: np.ndarray, truth: np.ndarray, classes: int) -> DiceTable:
    """Dice 2 |P n T| / (|P| + |T|) of class maps (N, H, W) for classes 0 .. classes - 1.

    Empty against empty is 1, empty against not empty 0. ValueError where shapes differ.
    """
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"masks must be two (N, H, W), not {predicted.shape} and {truth.shape}")
    numbers = np.arange(classes)[:, None, None, None]
    p, t = predicted[None] == numbers, truth[None] == numbers
    both = (p & t).sum(axis=(2, 3)).T
    p_sizes, t_sizes = p.sum(axis=(2, 3)).T, t.sum(axis=(2, 3)).T
    total = p_sizes + t_sizes
    values = np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1))
    return DiceTable(values, t_sizes > 0, p_sizes > 0)
