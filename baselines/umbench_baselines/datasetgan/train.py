"""Training the ensemble on a handful of annotated generated images."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from umbench_baselines.datasetgan.classifier import PixelClassifier, sample_pixels
from umbench_baselines.datasetgan.config import PixelClassifierConfig
from umbench_baselines.stylegan.networks import StyleGAN
from umbench_baselines.training import (
    Devices,
    Stateful,
    TrainingRun,
    batches,
    deterministic,
    draw_batch,
    run_loop,
    step_seed,
)

CHUNK = 4
"""Images that the annotator gets at once."""

HELD_VALUES = 2**28
"""Activations that are held at once (1 GiB)."""

TURN = 25
"""Steps on the same images where not all of them can be held."""


def train_pixel_classifier(
    gan: StyleGAN,
    annotator: Callable[[Tensor], Tensor],
    classes: int,
    config: PixelClassifierConfig,
    run: TrainingRun,
) -> PixelClassifier:
    """Train the ensemble at the size that the StyleGAN works at; in eval mode.

    gan: draws one grey channel in [-1, 1]. annotator: takes generated images (n, 1, S, S) in
    [0, 1] on the CPU, S being the full size, and returns their masks (n, S, S) of class indices.
    It sees the first `config.annotated` images of the run's seed, in order, a few at a time.
    ValueError where the masks do not fit.
    """
    devices = Devices(run.precision)
    gan = gan.to(devices.device).eval()
    masks = _annotated(gan, annotator, classes, config, run.seed)
    side = masks.shape[-1]
    held = _Held(gan, config, run.seed)
    with deterministic(run.seed):
        model = PixelClassifier(held.width, classes, config).to(devices.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)

    def step(index: int) -> Mapping[str, Tensor | float]:
        images, features = held.at(index)
        source = torch.Generator().manual_seed(step_seed(run.seed + 1, index))
        chosen = torch.randint(len(images) * side**2, (config.batch_pixels,), generator=source)
        chosen = devices.shard(chosen)
        rows, pixels = chosen // side**2, chosen % side**2
        truth = masks.flatten(1)[images[rows], pixels].long().to(devices.device)
        rows, pixels = rows.to(devices.device), pixels.to(devices.device)
        with devices.autocast():
            logits = model(sample_pixels(features, side, rows, pixels))
        # Each member has its own loss; the sum keeps their gradients apart.
        loss = config.ensemble * functional.cross_entropy(
            logits.float().flatten(0, 1), truth.repeat(config.ensemble)
        )
        devices.update(loss, optimizer)
        return {"cross entropy": loss.detach() / config.ensemble}

    parts: dict[str, Stateful] = {"classifier": model, "optimiser": optimizer}
    run_loop(parts, config.steps, step, run, devices, label="pixel classifier")
    return model.eval()


class _Held:
    """The activations of annotated images, of as many at once as fit.

    Where not all fit, others take their place every `TURN` steps: which ones follows from the
    step alone, so a training that was killed goes on with the same.
    """

    def __init__(self, gan: StyleGAN, config: PixelClassifierConfig, seed: int) -> None:
        self.gan, self.seed, self.count = gan, seed, config.annotated
        _, features = gan.sample_features(1, seed)
        self.width = sum(f.shape[1] for f in features)
        self.held = min(self.count, max(1, HELD_VALUES // sum(f.numel() for f in features)))
        self.turn = -1
        self.images, self.features = torch.empty(0), features

    def at(self, step: int) -> tuple[Tensor, list[Tensor]]:
        """The numbers of the images that a step learns from, and their activations."""
        turn = step // TURN if self.held < self.count else 0
        if turn != self.turn:
            self.turn, self.features = turn, []
            self.images = draw_batch(self.count, self.held, turn, self.seed).sort().values
            drawn = [
                self.gan.sample_features(1, self.seed, start=start)[1]
                for start in self.images.tolist()
            ]
            self.features = [torch.cat(layer) for layer in zip(*drawn, strict=True)]
        return self.images, self.features


def _annotated(
    gan: StyleGAN,
    annotator: Callable[[Tensor], Tensor],
    classes: int,
    config: PixelClassifierConfig,
    seed: int,
) -> Tensor:
    """Masks (A, R, R) uint8 of the images to learn from, at the StyleGAN's own size."""
    found = []
    for part in batches(config.annotated, CHUNK):
        images = unit(gan.sample(part.stop - part.start, seed, start=part.start))
        masks = torch.as_tensor(annotator(images)).long().cpu()
        if masks.shape != (len(images), *images.shape[2:]):
            raise ValueError(
                f"annotations have shape {tuple(masks.shape)}, expected {len(images)} of "
                f"{images.shape[2]} x {images.shape[3]}"
            )
        if masks.min() < 0 or masks.max() >= classes:
            raise ValueError(f"annotations hold classes outside 0 .. {classes - 1}")
        found.append(coarse(masks, gan.config.native, classes))
    return torch.cat(found)


def coarse(masks: Tensor, side: int, classes: int) -> Tensor:
    """Masks (N, S, S) at a smaller side: the class with most of the area, uint8.

    Ties go to the lower class.
    """
    if masks.shape[-1] == side:
        return masks.to(torch.uint8)
    shares = [
        functional.interpolate((masks == index).float()[:, None], side, mode="area")
        for index in range(classes)
    ]
    return torch.cat(shares, 1).argmax(1).to(torch.uint8)


def unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1], clipped."""
    return (images.clamp(-1, 1) + 1) / 2
