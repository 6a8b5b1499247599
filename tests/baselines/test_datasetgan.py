"""Pixel classifiers on StyleGAN features."""

import math
from dataclasses import replace

import pytest
import torch
from umbench_baselines.datasetgan import (
    PixelClassifier,
    PixelClassifierConfig,
    annotate,
    preset,
    train_pixel_classifier,
)
from umbench_baselines.datasetgan.classifier import divergence, majority, sample_pixels
from umbench_baselines.stylegan import StyleGAN, StyleGANConfig, pixel_features
from umbench_baselines.training import TrainingRun

CONFIG = PixelClassifierConfig(
    ensemble=3, hidden=(16, 8), steps=60, batch_pixels=256, lr=0.01, annotated=4
)


@pytest.fixture
def gan():
    torch.manual_seed(0)
    shape = StyleGANConfig(
        size=20, channels=1, latent=16, mapping_layers=2, fmap_base=64, fmap_max=8
    )
    return StyleGAN(shape).eval()


def bright(images: torch.Tensor) -> torch.Tensor:
    """An annotator: what is brighter than middle grey."""
    return (images[:, 0] > 0.5).long()


def test_sampled_pixels_equal_enlarged_maps(gan):
    _, features = gan.sample_features(2, 0)
    whole = pixel_features(features, 20)
    rows, pixels = torch.tensor([0, 1, 1]), torch.tensor([0, 137, 399])
    expected = whole.flatten(2)[rows, :, pixels]
    torch.testing.assert_close(
        sample_pixels(features, 20, rows, pixels), expected, atol=1e-4, rtol=1e-4
    )


def test_dense_probabilities_equal_those_of_pixels(gan):
    _, features = gan.sample_features(2, 0)
    torch.manual_seed(1)
    model = PixelClassifier(sum(f.shape[1] for f in features), 3, CONFIG).eval()
    dense = model.probabilities(features, 20)
    assert dense.shape == (3, 2, 3, 20, 20)
    pixels = pixel_features(features, 20).permute(0, 2, 3, 1).flatten(0, 2)
    expected = model(pixels).softmax(2).view(3, 2, 20, 20, 3).permute(0, 1, 4, 2, 3)
    torch.testing.assert_close(dense, expected, atol=1e-4, rtol=1e-4)


def test_votes_and_divergence_by_hand():
    agree = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).repeat(2, 1, 1, 1, 1)
    split = agree.clone()
    split[1] = split[1].flip(1)
    assert divergence(agree).item() == 0
    assert divergence(split).item() == pytest.approx(math.log(2))
    assert majority(torch.cat([agree, split[1:]])).item() == 0


def test_learns_annotates_and_repeats(gan, tmp_path):
    config = replace(CONFIG, steps=250, annotated=16)
    model = train_pixel_classifier(gan, bright, 20, 2, config, TrainingRun(tmp_path / "a"))
    images, masks, doubt = annotate(gan, model, 9, seed=7)
    assert images.shape == (9, 1, 20, 20) and masks.shape == (9, 20, 20) and doubt.shape == (9,)
    assert images.min() >= 0 and images.max() <= 1
    assert (masks == bright(images)).float().mean() > 0.9
    again = train_pixel_classifier(gan, bright, 20, 2, config, TrainingRun(tmp_path / "b"))
    assert all(torch.equal(model.state_dict()[k], v) for k, v in again.state_dict().items())
    rebuilt = PixelClassifier.from_state(model.state_dict(), 2, config)
    assert torch.equal(annotate(gan, rebuilt, 9, seed=7)[1], masks)


def test_the_most_uncertain_are_left_out(gan, tmp_path):
    model = train_pixel_classifier(
        gan, bright, 20, 2, replace(CONFIG, steps=0), TrainingRun(tmp_path)
    )
    model.config = replace(CONFIG, drop_quantile=0.0)
    everything = annotate(gan, model, 10, seed=1)[2]
    model.config = replace(CONFIG, drop_quantile=0.5)
    kept = annotate(gan, model, 5, seed=1)[2]
    torch.testing.assert_close(kept.sort().values, everything.sort().values[:5])
    assert annotate(gan, model, 0, seed=1)[1].shape == (0, 20, 20)


def test_resuming_gives_the_same_bytes(gan, tmp_path):
    def stop(done: int, total: int, text: str) -> None:
        if done == 30 and not stopped:
            stopped.append(done)
            raise InterruptedError

    stopped: list[int] = []
    whole = train_pixel_classifier(gan, bright, 20, 2, CONFIG, TrainingRun(tmp_path / "a"))
    run = TrainingRun(tmp_path / "b", checkpoint_seconds=0, progress=stop)
    with pytest.raises(InterruptedError):
        train_pixel_classifier(gan, bright, 20, 2, CONFIG, run)
    resumed = train_pixel_classifier(gan, bright, 20, 2, CONFIG, run)
    assert all(torch.equal(whole.state_dict()[k], v) for k, v in resumed.state_dict().items())


def test_presets_and_errors(gan, tmp_path):
    assert preset("quick", untrained=True, annotated=5).steps == 0
    assert preset("paper").hidden == (128, 32) and preset("paper").ensemble == 10
    with pytest.raises(ValueError, match="preset"):
        preset("huge")
    with pytest.raises(ValueError, match="options"):
        preset("quick", colour=1)
    with pytest.raises(ValueError, match="shape"):
        train_pixel_classifier(gan, lambda x: x[:1, 0], 20, 2, CONFIG, TrainingRun(tmp_path))
    with pytest.raises(ValueError, match="outside"):
        train_pixel_classifier(gan, lambda x: bright(x) + 1, 20, 2, CONFIG, TrainingRun(tmp_path))
