"""What G1 takes: its own steps, run on tensors without values."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import torch
from torch.nn import functional

from umbench_baselines.costs import ADAM, FLOATS, Drawing, Place, Setting, Training
from umbench_baselines.pretend import Work, autocast, bytes_of, shapes_alone, update, work
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.networks import Discriminator, StyleGAN
from umbench_baselines.stylegan.part import StyleGANPart
from umbench_baselines.stylegan.source import CHUNK_VALUES
from umbench_baselines.stylegan.train import gradient_penalty


def config_of(part: StyleGANPart, setting: Setting) -> StyleGANConfig:
    """As training makes it, but for what does not change the cost: equal ones are counted once."""
    config = part.config(
        setting.budget,
        size=setting.size,
        classes=setting.classes,
        count=setting.seen(labelled_alone=part.labelled_alone),
    )
    return replace(config, augment=(), decay=0.0)


def training(part: StyleGANPart, setting: Setting) -> Training:
    """All stages' steps.

    A reduced copy of the images, 16 bits a value, is a file while the stage's side is not theirs.
    On the host are batches, and what is read while that copy is made, as floats.
    """
    config, count = config_of(part, setting), setting.seen(labelled_alone=part.labelled_alone)
    cost = _schedule(config, setting.place)
    if not cost.operations:
        return cost
    sides = [side for side in config.resolutions if side < setting.size]
    copy = max((count * config.channels * side**2 * 2 for side in sides), default=0)
    values = max(CHUNK_VALUES, config.channels * setting.pixels)
    # class numbers of 8 bytes and one-hot values of as many beside the floats, where masks are
    made = values * (4 * FLOATS + (16 if config.channels > 1 else 0)) if copy else 0
    batch = setting.place.share(max(config.stage_batches[-1:], default=1))
    read = FLOATS * 4 * batch * config.channels * setting.pixels
    return replace(cost, reads=max(made, read), files=copy)


def drawing(part: StyleGANPart, setting: Setting) -> Drawing:
    """One image at a time, in single precision."""
    config = bare(config_of(part, setting))
    one, _, _ = one_image(config)
    return Drawing(one.operations, weights(config), one.alive)


def bare(config: StyleGANConfig) -> StyleGANConfig:
    """The same networks without a schedule: nothing is trained."""
    return replace(config, stage_images=(), stage_batches=())


@functools.lru_cache(maxsize=64)
def weights(config: StyleGANConfig) -> int:
    """Bytes of the generator."""
    with shapes_alone():
        return bytes_of([StyleGAN(config)])


@functools.lru_cache(maxsize=64)
def one_image(config: StyleGANConfig) -> tuple[Work, int, int]:
    """Of one image drawn: its work, the values of its activations, and their channels."""
    found: list[tuple[int, ...]] = []
    with shapes_alone():
        generator = StyleGAN(config).eval()

        def step() -> None:
            with torch.no_grad():
                w = generator.mapping(torch.zeros(1, config.latent))
                styles = [w] * generator.active_layers(config.native)
                _, features = generator.synthesise(styles, config.native)
                found.extend(tuple(feature.shape) for feature in features)

        drawn = work(step)
    return drawn, sum(math.prod(shape) for shape in found), sum(shape[1] for shape in found)


@functools.lru_cache(maxsize=64)
def _schedule(config: StyleGANConfig, place: Place) -> Training:
    """G1 with its discriminator: every stage's steps, each `r1_interval`th with the penalty.

    The last stage holds most, where the penalty keeps its gradients. All of it is taken in single
    precision, which is that of the penalty: mixed precision holds a little less.
    """
    single, penalised = replace(place, precision="no"), config.r1_gamma > 0
    with shapes_alone():
        networks = StyleGAN(config), Discriminator(config)
        model = bytes_of(networks[:1])
        checkpoint = bytes_of(networks) * (1 + ADAM) + model
        if not any(config.stage_steps):
            return Training(0.0, checkpoint, 0, model, 0)

        def step(side: int, images: int, penalised: bool) -> Work:
            return work(lambda: _step(networks, config, side, images, single, penalised))

        stages = zip(config.resolutions, config.stage_batches, config.stage_steps, strict=True)
        operations = sum(
            step(side, 1, False).operations * batch * steps for side, batch, steps in stages
        )
        last, share = config.resolutions[-1], place.share(config.stage_batches[-1])
        plain, most = step(last, share, False), step(last, share, penalised)
        # what the penalty adds is the same part of every stage's steps
        operations *= 1 + (most.operations / plain.operations - 1) / config.r1_interval
    return Training(operations, checkpoint, most.alive, model, checkpoint)


def _step(
    networks: tuple[StyleGAN, Discriminator], config: StyleGANConfig, side: int, share: int,
    place: Place, penalised: bool,
) -> None:  # fmt: skip
    """As `umbench_baselines.stylegan.train` takes it, in the middle of a stage's fading in."""
    generator, discriminator = networks
    alpha = 0.5 if side > config.start_size else 1.0
    real = torch.zeros(share, config.channels, side, side)
    latents = torch.zeros(share, config.latent)
    with autocast(place.precision):
        with torch.no_grad():
            fake = generator(latents, side, alpha)
        loss = functional.softplus(discriminator(fake, alpha)).mean()
    if penalised:
        logits, penalty = gradient_penalty(discriminator, real, alpha)
        loss = loss + functional.softplus(-logits).mean() + penalty
    else:
        with autocast(place.precision):
            loss = loss + functional.softplus(-discriminator(real, alpha)).mean()
    update(loss, discriminator, place.gpus)
    del loss, fake
    with autocast(place.precision):
        loss = functional.softplus(-discriminator(generator(latents, side, alpha), alpha)).mean()
    update(loss, generator, place.gpus)
