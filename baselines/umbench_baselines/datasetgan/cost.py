"""What the pixel classifiers take: their own steps, run on tensors without values."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import torch
from torch.nn import functional

from umbench_baselines import segmenter_cost
from umbench_baselines.costs import ADAM, FLOATS, Drawing, Place, Setting, Training
from umbench_baselines.datasetgan.annotate import STRIP_VALUES
from umbench_baselines.datasetgan.classifier import PixelClassifier
from umbench_baselines.datasetgan.config import PixelClassifierConfig
from umbench_baselines.datasetgan.part import PixelClassifierPart
from umbench_baselines.datasetgan.train import CHUNK, HELD_VALUES, TURN
from umbench_baselines.pretend import autocast, bytes_of, shapes_alone, update, work
from umbench_baselines.segmenter import SegmenterConfig, preset
from umbench_baselines.stylegan import cost as stylegan
from umbench_baselines.stylegan.config import StyleGANConfig


def training(part: PixelClassifierPart, setting: Setting) -> Training:
    """Drawing and annotating a few images, and all steps on them."""
    config = part.config(setting.budget)
    gan = stylegan.config_of(part.gan, setting)
    annotator = preset(setting.budget.preset, setting.budget.scale)
    cost = _schedule(config, gan, annotator, setting.classes, setting.place)
    read = CHUNK * setting.pixels * (4 * FLOATS + 8) + config.annotated * gan.native**2
    return replace(cost, reads=read)


def drawing(part: PixelClassifierPart, setting: Setting) -> Drawing:
    """Annotating an image that the StyleGAN draws, a strip of rows at a time."""
    config = part.config(setting.budget)
    gan = stylegan.drawing(part.gan, setting)
    return Drawing(
        operations=0.0,
        stays=0,
        alive=gan.alive + 4 * STRIP_VALUES * 4,
        drawn=1 / (1 - config.drop_quantile),
    )


@functools.lru_cache(maxsize=64)
def _schedule(
    config: PixelClassifierConfig, gan: StyleGANConfig, annotator: SegmenterConfig, classes: int,
    place: Place,
) -> Training:  # fmt: skip
    """The ensemble: drawing and annotating its images, holding their activations."""
    share = place.share(config.batch_pixels)
    drawn, values, width = stylegan.one_image(gan)
    labelled = segmenter_cost.segmenting(annotator, classes, gan.size, CHUNK)
    with shapes_alone():
        model = PixelClassifier(width, classes, config).train()

        def step() -> None:
            with autocast(place.precision):
                logits = model(torch.zeros(share, width))
            wanted = torch.zeros(share * config.ensemble, dtype=torch.int64)
            loss = functional.cross_entropy(logits.float().flatten(0, 1), wanted)
            update(loss, model, place.gpus)

        seen = work(step)
    size_of = bytes_of([model])
    held = min(config.annotated, max(1, HELD_VALUES // values))
    turns = math.ceil(config.steps / TURN) if held < config.annotated else min(1, config.steps)
    operations = (
        seen.operations * place.all(config.batch_pixels) * config.steps
        + labelled.operations / CHUNK * config.annotated
        + drawn.operations * (config.annotated + held * turns * place.processes)
    )
    alive = max(4 * values * held * 2 + seen.alive, labelled.alive, drawn.alive)
    kept = size_of * (1 + ADAM)
    return Training(operations, kept + stylegan.weights(gan), alive, size_of, kept)
