"""What training each kind of network takes: its own steps, run on tensors without values."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from umbench.suite.cost.pretend import (
    Work,
    autocast,
    bytes_of,
    pretending,
    shapes_alone,
    update,
    work,
)

if TYPE_CHECKING:
    from torch import nn
    from umbench_baselines.datasetgan import PixelClassifierConfig
    from umbench_baselines.segmenter import SegmenterConfig
    from umbench_baselines.stylegan import StyleGANConfig
    from umbench_baselines.translation import TranslationConfig

ADAM = 2
"""Copies of the weights that Adam keeps: means of gradients and of their squares."""


TESTED_AT_ONCE, TASK_CLASSES = 8, 4


@dataclass(frozen=True)
class Place:
    """Where a suite runs: how many GPUs (0: one process on the CPU), and in which precision."""

    gpus: int
    precision: str

    @property
    def processes(self) -> int:
        """That train one network together."""
        return max(1, self.gpus)

    def share(self, batch: int) -> int:
        """Rows of a batch in the largest share, as `umbench_baselines.training.share` cuts it."""
        return math.ceil(batch / max(1, min(self.processes, batch // 2)))

    def all(self, batch: int) -> float:
        """What the work on one share is multiplied by to get that on the batch."""
        return batch / self.share(batch)


@dataclass(frozen=True)
class Training:
    """operations: of the whole training. stays: bytes of weights, averages and what optimisers
    keep. alive: bytes beside them at the peak. model: bytes of the result. checkpoint: of one.
    """

    operations: float
    stays: int
    alive: int
    model: int
    checkpoint: int


@functools.lru_cache(maxsize=64)
def translation(
    config: TranslationConfig, channels: int, classes: int, size: int, rows: int, unlabelled: int,
    place: Place,
) -> Training:  # fmt: skip
    """G2 with its discriminators. rows: images seen; of which `unlabelled` have no mask.

    Beside the steps, the batch statistics are measured anew in single precision, `config.batch`
    images at a time on one device, and the teacher segments the unlabelled images in the same
    way. In a step all images of a share count as labelled, which costs D^S a little more.
    """
    from umbench_baselines.translation.networks import (
        ImageDiscriminator,
        MaskDiscriminator,
        Translator,
    )

    judge: nn.Module | None = None
    mask_judge: nn.Module | None = None
    compares = config.steps and config.compares_features
    perceptual = _perceptual(config.perceptual, config.perceptual_sha256) if compares else None
    with pretending():
        generator = Translator(channels, classes, config).train()
        if config.heads != "segmentation":
            judge = ImageDiscriminator(1 + channels, config.disc_width, config.disc_scales)
        if config.heads != "image":
            mask_judge = MaskDiscriminator(classes, config.disc_width, config.disc_down)
        trained = [network for network in (generator, judge, mask_judge) if network is not None]
        kept = bytes_of([generator])  # the average
        if mask_judge is not None:
            kept += bytes_of([generator, mask_judge])  # the teacher
        checkpoint = bytes_of(trained) * (1 + ADAM) + kept
        stays = checkpoint + (bytes_of([perceptual]) if perceptual is not None else 0)
        model = bytes_of([generator])
        if not config.steps:
            return Training(0.0, stays, 0, model, 0)
        step = work(
            lambda: _translation_step(
                config, (generator, judge, mask_judge, perceptual), channels, classes, size, place
            )
        )
    whole, _ = translating(config, channels, classes, size, config.batch)
    passes = rows + (rows if mask_judge is not None and unlabelled else 0)
    operations = (
        step.operations * place.all(config.batch) * config.steps
        + whole.operations / config.batch * passes
    )
    return Training(operations, stays, max(step.alive, whole.alive), model, checkpoint)


@functools.lru_cache(maxsize=4)
def _perceptual(name: str, sha256: str) -> nn.Module:
    from umbench_baselines.translation.perceptual import Perceptual

    return Perceptual(name, sha256)


def _translation_step(
    config: TranslationConfig, networks: tuple[Any, ...], channels: int, classes: int, size: int,
    place: Place,
) -> None:  # fmt: skip
    """As `umbench_baselines.translation.train` takes it."""
    import torch
    from torch.nn import functional
    from umbench_baselines.translation import losses
    from umbench_baselines.translation.networks import hardened

    generator, judge, mask_judge, perceptual = networks
    share = place.share(config.batch)
    condition = torch.zeros(share, channels, size, size)
    with autocast(place.precision):
        fake, logits = generator(condition)
    total = torch.zeros(())
    if fake is not None:
        real = torch.zeros(share, 1, size, size)
        with autocast(place.precision):
            on_real, on_fake = judge(real, condition), judge(fake.detach(), condition)
        update(losses.discriminator_loss(config.gan, on_real, on_fake), judge, place.gpus)
        del on_real, on_fake
        with autocast(place.precision):
            total = total + losses.generator_loss(config.gan, judge(fake, condition))
            if perceptual is not None:
                total = total + perceptual(fake, real)
    if logits is not None:
        logits = logits.float()
        truth = torch.zeros(share, size, size, dtype=torch.int64)
        shown = hardened(logits.softmax(1))
        seen = functional.one_hot(truth, classes).permute(0, 3, 1, 2).float()
        judged = mask_judge(seen), mask_judge(shown.detach())
        update(losses.mask_discriminator_loss(*judged), mask_judge, place.gpus)
        total = total + losses.mask_loss(logits, truth, torch.ones_like(truth))
        total = total + functional.softplus(-mask_judge(shown)).mean()
    update(total, generator, place.gpus)


def _inference(network: nn.Module, shape: tuple[int, ...]) -> Work:
    """One pass in single precision that nothing is kept of."""
    import torch

    def step() -> None:
        with torch.no_grad():
            network(torch.zeros(shape))

    return work(step)


@functools.lru_cache(maxsize=64)
def stylegan(config: StyleGANConfig, place: Place) -> Training:
    """G1 with its discriminator: every stage's steps, each `r1_interval`th with the penalty.

    The last stage holds most, where the penalty keeps its gradients. All of it is taken in single
    precision, which is that of the penalty: mixed precision holds a little less.
    """
    from umbench_baselines.stylegan.networks import Discriminator, StyleGAN

    single, penalised = replace(place, precision="no"), config.r1_gamma > 0
    with shapes_alone():
        networks = StyleGAN(config), Discriminator(config)
        model = bytes_of(networks[:1])
        checkpoint = bytes_of(networks) * (1 + ADAM) + model
        if not any(config.stage_steps):
            return Training(0.0, checkpoint, 0, model, 0)

        def step(side: int, images: int, penalised: bool) -> Work:
            return work(lambda: _stylegan_step(networks, config, side, images, single, penalised))

        stages = zip(config.resolutions, config.stage_batches, config.stage_steps, strict=True)
        operations = sum(
            step(side, 1, False).operations * batch * steps for side, batch, steps in stages
        )
        last, share = config.resolutions[-1], place.share(config.stage_batches[-1])
        plain, most = step(last, share, False), step(last, share, penalised)
        # what the penalty adds is the same part of every stage's steps
        operations *= 1 + (most.operations / plain.operations - 1) / config.r1_interval
    return Training(operations, checkpoint, most.alive, model, checkpoint)


def _stylegan_step(
    networks: tuple[Any, Any], config: StyleGANConfig, side: int, share: int, place: Place,
    penalised: bool,
) -> None:  # fmt: skip
    """As `umbench_baselines.stylegan.train` takes it, in the middle of a stage's fading in."""
    import torch
    from torch.nn import functional
    from umbench_baselines.stylegan.train import gradient_penalty

    generator, discriminator = networks
    alpha = 0.5 if side > config.start_size else 1.0
    real = torch.zeros(share, config.channels, side, side)
    with autocast(place.precision):
        fake = generator(torch.zeros(share, config.latent), side, alpha)
        loss = functional.softplus(discriminator(fake.detach(), alpha)).mean()
    if penalised:
        logits, penalty = gradient_penalty(discriminator, real, alpha)
        loss = loss + functional.softplus(-logits).mean() + penalty
    else:
        with autocast(place.precision):
            loss = loss + functional.softplus(-discriminator(real, alpha)).mean()
    update(loss, discriminator, place.gpus)
    del loss
    with autocast(place.precision):
        loss = functional.softplus(-discriminator(fake, alpha)).mean()
    update(loss, generator, place.gpus)


@functools.lru_cache(maxsize=64)
def segmenter(
    config: SegmenterConfig, classes: int, size: int, tested: int, place: Place
) -> Training:
    """The utility U-Net, and its masks of the test images, eight at a time."""
    import torch
    from torch.nn import functional
    from umbench_baselines.segmenter import augment, build_segmenter

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
        judged = _inference(model.eval(), (TESTED_AT_ONCE, 1, size, size))
    size_of = bytes_of([model])
    operations = seen.operations * place.all(config.batch) * config.steps
    operations += judged.operations / TESTED_AT_ONCE * tested
    kept = size_of * (1 + (ADAM if config.momentum is None else 1))
    return Training(operations, kept, max(seen.alive, judged.alive), size_of, kept)


def task_network(config: Any, size: int, judged: int, place: Place) -> Training:
    """A task network; config: `umbench_metrics.extractors.task.TaskConfig`; judged: held out."""
    trained, one = _task_network(config, size, place)
    return replace(trained, operations=trained.operations + one * judged)


@functools.lru_cache(maxsize=64)
def _task_network(config: Any, size: int, place: Place) -> tuple[Training, float]:
    """Its training, and the operations of one image that it is judged by.

    Counted with as many classes as ages have: the last layer is nothing beside the others.
    """
    import torch
    from torch.nn import functional
    from umbench_metrics.extractors.task import JUDGED_AT_ONCE, TaskNetwork, augment

    share = place.share(config.batch)
    network = TaskNetwork("task", TASK_CLASSES, config).train()
    with pretending():

        def step() -> None:
            batch = augment(torch.zeros(share, 1, size, size))
            with autocast(place.precision):
                logits = network.logits(batch)
            wanted = torch.zeros(share, dtype=torch.int64)
            update(functional.cross_entropy(logits.float(), wanted), network, place.gpus)

        seen = work(step)
        network.eval()
        shown = work(lambda: network(torch.zeros(JUDGED_AT_ONCE, 1, size, size)))
    size_of = bytes_of([network])
    operations = seen.operations * place.all(config.batch) * config.steps
    kept = size_of * (1 + ADAM)
    trained = Training(operations, kept, max(seen.alive, shown.alive), size_of, kept)
    return trained, shown.operations / JUDGED_AT_ONCE


@functools.lru_cache(maxsize=64)
def pixel_classifier(
    config: PixelClassifierConfig, gan: StyleGANConfig, annotator: SegmenterConfig, classes: int,
    place: Place,
) -> Training:  # fmt: skip
    """datasetGAN's ensemble: drawing and annotating its images, holding their activations."""
    import torch
    from torch.nn import functional
    from umbench_baselines.datasetgan import PixelClassifier
    from umbench_baselines.datasetgan.train import CHUNK, HELD_VALUES, TURN
    from umbench_baselines.segmenter import build_segmenter

    share = place.share(config.batch_pixels)
    drawn, values, width = drawing(gan)
    with shapes_alone():
        labelled = _inference(
            build_segmenter(classes, annotator).eval(), (CHUNK, 1, gan.size, gan.size)
        )
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
    with shapes_alone():
        from umbench_baselines.stylegan import StyleGAN

        stays = kept + bytes_of([StyleGAN(gan)])
    return Training(operations, stays, alive, size_of, kept)


@functools.lru_cache(maxsize=64)
def drawing(config: StyleGANConfig) -> tuple[Work, int, int]:
    """Of one image drawn by G1: its work, the values of its activations, and their channels."""
    import torch
    from umbench_baselines.stylegan import StyleGAN

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
def translating(
    config: TranslationConfig, channels: int, classes: int, size: int, batch: int
) -> tuple[Work, int]:
    """G2 on a batch in single precision, and the bytes of its weights."""
    from umbench_baselines.translation import Translator

    with shapes_alone():
        generator = Translator(channels, classes, config).eval()
        return _inference(generator, (batch, channels, size, size)), bytes_of([generator])


@functools.lru_cache(maxsize=64)
def extracting(
    name: str, input: str | None, task: Any, size: int, resolution: int, batch: int
) -> tuple[Work, int, int]:
    """Features of a batch: the work, the bytes of the weights, and numbers per image.

    task: the configuration of the network of a task extractor, None for a published one.
    """
    import torch
    from umbench_metrics.extractors import load
    from umbench_metrics.extractors.task import TaskNetwork
    from umbench_metrics.images import resize

    published = load(name, input) if task is None else None
    with pretending() if task is None else shapes_alone():
        network: Any = published or TaskNetwork("task", TASK_CLASSES, task).eval()
        seen = work(lambda: network(resize(torch.zeros(batch, 1, size, size), resolution)))
    modules = [network] if isinstance(network, torch.nn.Module) else _modules(network)
    return seen, bytes_of(modules), int(network.dim)


def _modules(extractor: Any) -> list[nn.Module]:
    """The networks behind an extractor that is none itself."""
    import torch

    return [value for value in vars(extractor).values() if isinstance(value, torch.nn.Module)]
