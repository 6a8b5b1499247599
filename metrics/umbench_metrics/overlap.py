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

    @property
    def empty_truth(self) -> np.ndarray:
        """Images (C,) whose truth lacks the class: Dice is 1 or 0 there, nothing between."""
        out: np.ndarray = np.sum(~self.in_truth, axis=0)
        return out

    @property
    def empty_both(self) -> np.ndarray:
        """Images (C,) where truth and prediction lack the class: Dice is 1 there by rule."""
        out: np.ndarray = np.sum(~self.in_truth & ~self.in_prediction, axis=0)
        return out


def dice(predicted: np.ndarray, truth: np.ndarray, classes: int) -> DiceTable:
    """Dice 2 |P n T| / (|P| + |T|) of class maps (N, H, W) for classes 0 .. classes - 1.

    Empty against empty is 1, empty against not empty 0. ValueError where shapes differ or a
    class number is out of range.

    >>> dice(np.array([[[0, 1]]]), np.array([[[1, 1]]]), 3).values.round(3).tolist()
    [[0.0, 0.667, 1.0]]
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise ValueError(f"masks must be two (N, H, W), not {predicted.shape} and {truth.shape}")
    for name, masks in (("predicted", predicted), ("truth", truth)):
        if masks.size and not (masks.min() >= 0 and masks.max() < classes):
            raise ValueError(f"{name}: class numbers must be in 0 .. {classes - 1}")
    # one confusion matrix an image: no array larger than a single mask
    confusion = np.zeros((len(truth), classes, classes), dtype=np.int64)
    for row, p, t in zip(confusion, predicted, truth, strict=True):
        pairs = t.astype(np.int64).ravel() * classes + p.astype(np.int64).ravel()
        row += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    both = np.diagonal(confusion, axis1=1, axis2=2)
    t_sizes, p_sizes = confusion.sum(axis=2), confusion.sum(axis=1)
    total = p_sizes + t_sizes
    values = np.where(total == 0, 1.0, 2 * both / np.maximum(total, 1))
    return DiceTable(values, t_sizes > 0, p_sizes > 0)
