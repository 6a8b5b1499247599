"""Drawing annotated images: the ensemble's vote, and how much its members differ."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.datasetgan.classifier import PixelClassifier
from umbench_baselines.datasetgan.train import unit
from umbench_baselines.stylegan.networks import StyleGAN
from umbench_baselines.training import batches

STRIP_VALUES = 2**22
"""Values of the first hidden layer that are held at once (16 MiB, a few times over); more is slower
where memory is handed out anew each time."""


def keep(doubt: Tensor, count: int) -> Tensor:
    """The rows of the `count` most certain images of all those drawn, in the order drawn."""
    return doubt.argsort(stable=True)[:count].sort().values


def annotate(
    gan: StyleGAN,
    classifier: PixelClassifier,
    rows: range | slice,
    seed: int,
    psi: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Images `rows.start` .. `rows.stop` of a seed, with the classifiers' masks of them.

    Returns images (n, 1, S, S) float32 in [0, 1], masks (n, S, S) int64 by majority vote and each
    image's doubt (n,), the mean Jensen-Shannon divergence over its pixels in nats; all on the
    CPU. psi: truncation, by default the StyleGAN's. Worked out on the classifier's device, image by
    image at the size that the StyleGAN works at, a strip of rows at a time. Where images are
    larger, the votes are enlarged (bilinear) and the class with most of them taken, so that
    outlines have no steps. Image i is the same, byte for byte, whatever rows it is asked for with.
    """
    gan = gan.to(classifier.first.weight.device).eval()
    count, side = rows.stop - rows.start, gan.config.size
    images = torch.empty(count, 1, side, side)
    masks = torch.empty(count, side, side, dtype=torch.int64)
    doubt = torch.empty(count)
    for place in range(count):
        image, features = gan.sample_features(1, seed, psi, rows.start + place)
        counted, doubts = _vote(classifier, features, gan.config.native)
        images[place] = unit(gan.enlarged(image))[0]
        whole = functional.interpolate(counted.permute(2, 0, 1)[None], side, mode="bilinear")
        masks[place] = whole[0].argmax(0)
        doubt[place] = doubts.mean()
    return images, masks, doubt


def _vote(
    classifier: PixelClassifier, features: list[Tensor], side: int, values: int = STRIP_VALUES
) -> tuple[Tensor, Tensor]:
    """Votes (side, side, C) and the divergence (side, side) of each pixel of one image."""
    config = classifier.config
    strip = max(1, values // (side * config.ensemble * config.hidden[0]))
    found, doubts = [], []
    for rows in batches(side, strip):
        probabilities = classifier.probabilities(features, side, rows)
        found.append(votes(probabilities))
        doubts.append(divergence(probabilities))
    return torch.cat(found), torch.cat(doubts)


def votes(probabilities: Tensor) -> Tensor:
    """How many members find each class most probable, (E, ..., C) to (..., C) float32."""
    classes = probabilities.shape[-1]
    return functional.one_hot(probabilities.argmax(-1), classes).sum(0).float()


def divergence(probabilities: Tensor) -> Tensor:
    """Jensen-Shannon divergence over the ensemble, (E, ..., C) to (...), in nats."""
    return (_entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)).clamp(min=0)


def _entropy(probabilities: Tensor) -> Tensor:
    """Shannon entropy over the last axis."""
    return -torch.xlogy(probabilities, probabilities).sum(-1)
