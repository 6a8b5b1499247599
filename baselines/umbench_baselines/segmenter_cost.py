"""What the utility segmenter takes: its own steps, run on tensors without values."""

from __future__ import annotations

import functools

import torch
from torch.nn import functional

from umbench_baselines.costs import ADAM, Place, Training
from umbench_baselines.pretend import (
    Work,
    autocast,
    bytes_of,
    inference,
    pretending,
    shapes_alone,
    update,
    work,
)
from umbench_baselines.segmenter import SegmenterConfig, augment, build_segmenter

TESTED_AT_ONCE = 8


@functools.lru_cache(maxsize=64)
def training(
    config: SegmenterConfig, classes: int, size: int, tested: int, place: Place
) -> Training:
    """The utility U-Net, and its masks of the test images, eight at a time."""
    share = place.share(config.batch)
    with pretending():
        model = build_segmenter(classes, config).train()

        def step() -> None:
            masks = torch.zeros(share, size, size, dtype=torch.int64)
            images, masks = augment(torch.zeros(share, 1, size, size), masks)
            with autocast(place.precision):
                logits = model(images)
            logits = logits.float()
            overlap = (logits.softmax(1) * functional.one_hot(masks, classes).movedim(-1, 1)).mean()
            update(functional.cross_entropy(logits, masks) - overlap, model, place.gpus)

        seen = work(step)
        judged = inference(model.eval(), (TESTED_AT_ONCE, 1, size, size))
    size_of = bytes_of([model])
    operations = seen.operations * place.all(config.batch) * config.steps
    operations += judged.operations / TESTED_AT_ONCE * tested
    kept = size_of * (1 + (ADAM if config.momentum is None else 1))
    return Training(operations, kept, max(seen.alive, judged.alive), size_of, kept)


@functools.lru_cache(maxsize=64)
def segmenting(config: SegmenterConfig, classes: int, size: int, images: int) -> Work:
    """Masks of so many images at once, in single precision."""
    with shapes_alone():
        model = build_segmenter(classes, config).eval()
        return inference(model, (images, 1, size, size))
