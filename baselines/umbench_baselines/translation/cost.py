"""What G2 takes: its own steps, run on tensors without values."""

from __future__ import annotations

import functools
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from umbench_baselines.contracts import one_hot
from umbench_baselines.costs import ADAM, FLOATS, Drawing, Place, Setting, Training
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
from umbench_baselines.translation import losses
from umbench_baselines.translation.config import TranslationConfig
from umbench_baselines.translation.networks import (
    ImageDiscriminator,
    MaskDiscriminator,
    Translator,
    hardened,
)
from umbench_baselines.translation.part import TranslationPart
from umbench_baselines.translation.perceptual import Perceptual

TRANSLATED_AT_ONCE = 8
Networks = tuple[Translator, ImageDiscriminator | None, MaskDiscriminator | None, Perceptual | None]


def training(part: TranslationPart, setting: Setting) -> Training:
    """All steps; batches are read when they are drawn, pseudo-segmentations lie in a file."""
    config, seen = _config(part, setting), setting.seen(labelled_alone=part.labelled_alone)
    unlabelled = max(0, seen - setting.labelled) if config.heads != "image" else 0
    channels = _channels(part, setting)
    cost = schedule(
        config, channels, setting.classes, setting.size, seen, unlabelled, setting.place
    )
    files = unlabelled * setting.pixels
    if not config.steps:
        return replace(cost, files=files)
    # statistics are measured anew on whole batches
    values = config.batch * setting.pixels
    masks = values * setting.classes * 8 if part.conditions == "masks" else 0
    return replace(cost, reads=values * (channels + 1) * 4 * FLOATS + masks, files=files)


def drawing(part: TranslationPart, setting: Setting) -> Drawing:
    """Some images at once, in single precision."""
    some, weights = _translating(
        _config(part, setting), _channels(part, setting), setting.classes, setting.size,
        TRANSLATED_AT_ONCE,
    )  # fmt: skip
    return Drawing(some.operations / TRANSLATED_AT_ONCE, weights, some.alive)


def _config(part: TranslationPart, setting: Setting) -> TranslationConfig:
    count = setting.seen(labelled_alone=part.labelled_alone)
    return part.config(setting.budget, size=setting.size, count=count)


def _channels(part: TranslationPart, setting: Setting) -> int:
    return setting.classes if part.conditions == "masks" else 1


@functools.lru_cache(maxsize=64)
def schedule(
    config: TranslationConfig, channels: int, classes: int, size: int, rows: int, unlabelled: int,
    place: Place,
) -> Training:  # fmt: skip
    """G2 with its discriminators. rows: images seen; of which `unlabelled` have no mask.

    Beside the steps, the batch statistics are measured anew in single precision, `config.batch`
    images at a time on one device, and the teacher segments the unlabelled images in the same
    way. In a step all images of a share count as labelled, which costs D^S a little more.
    """
    compares = config.steps and config.compares_features
    perceptual = _perceptual(config.perceptual, config.perceptual_sha256) if compares else None
    judge = mask_judge = None
    with pretending():
        generator = Translator(channels, classes, config).train()
        if config.heads != "segmentation":
            judge = ImageDiscriminator(1 + channels, config.disc_width, config.disc_scales)
        if config.heads != "image":
            mask_judge = MaskDiscriminator(classes, config.disc_width, config.disc_down)
        kept, checkpoint = _bytes(generator, judge, mask_judge)
        stays = checkpoint + (bytes_of([perceptual]) if perceptual is not None else 0)
        if not config.steps:
            return Training(0.0, stays, 0, kept, 0)
        networks = generator, judge, mask_judge, perceptual
        step = work(lambda: _step(config, networks, channels, classes, size, place))
    whole, _ = _translating(config, channels, classes, size, config.batch)
    passes = rows + (rows if mask_judge is not None and unlabelled else 0)
    operations = (
        step.operations * place.all(config.batch) * config.steps
        + whole.operations / config.batch * passes
    )
    return Training(operations, stays, max(step.alive, whole.alive), kept, checkpoint)


def _bytes(
    generator: Translator, judge: nn.Module | None, mask_judge: nn.Module | None
) -> tuple[int, int]:
    """Of the result, and of a checkpoint: with the average, and the teacher where there is one."""
    trained = [network for network in (generator, judge, mask_judge) if network is not None]
    model = bytes_of([generator])
    teacher = 0 if mask_judge is None else bytes_of([generator, mask_judge])
    return model, bytes_of(trained) * (1 + ADAM) + model + teacher


@functools.lru_cache(maxsize=4)
def _perceptual(name: str, sha256: str) -> Perceptual:
    return Perceptual(name, sha256)


@functools.lru_cache(maxsize=64)
def _translating(
    config: TranslationConfig, channels: int, classes: int, size: int, batch: int
) -> tuple[Work, int]:
    """G2 on a batch in single precision, and the bytes of its weights."""
    with shapes_alone():
        generator = Translator(channels, classes, config).eval()
        return inference(generator, (batch, channels, size, size)), bytes_of([generator])


def _step(
    config: TranslationConfig, networks: Networks, channels: int, classes: int, size: int,
    place: Place,
) -> None:  # fmt: skip
    """As `umbench_baselines.translation.train` takes it."""
    generator, judge, mask_judge, perceptual = networks
    share = place.share(config.batch)
    condition = torch.zeros(share, channels, size, size)
    with autocast(place.precision):
        fake, logits = generator(condition)
    total = torch.zeros(())
    if fake is not None and judge is not None:
        real = torch.zeros(share, 1, size, size)
        with autocast(place.precision):
            on_real, on_fake = judge(real, condition), judge(fake.detach(), condition)
        update(losses.discriminator_loss(config.gan, on_real, on_fake), judge, place.gpus)
        del on_real, on_fake
        with autocast(place.precision):
            total = total + losses.generator_loss(config.gan, judge(fake, condition))
            if perceptual is not None:
                total = total + perceptual(fake, real)
    if logits is not None and mask_judge is not None:
        logits = logits.float()
        truth = torch.zeros(share, size, size, dtype=torch.int64)
        shown = hardened(logits.softmax(1))
        judged = mask_judge(one_hot(truth, classes)), mask_judge(shown.detach())
        update(losses.mask_discriminator_loss(*judged), mask_judge, place.gpus)
        total = total + losses.mask_loss(logits, truth, torch.ones_like(truth))
        total = total + functional.softplus(-mask_judge(shown)).mean()
    update(total, generator, place.gpus)
