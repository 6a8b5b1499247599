"""Pixel classifiers on StyleGAN features."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from umbench_baselines.datasetgan import train
from umbench_baselines.datasetgan.annotate import _vote, annotate, divergence, keep, votes
from umbench_baselines.datasetgan.classifier import PixelClassifier, sample_pixels
from umbench_baselines.datasetgan.config import PixelClassifierConfig, preset
from umbench_baselines.datasetgan.train import train_pixel_classifier
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.networks import StyleGAN
from umbench_baselines.training import TrainingRun

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = PixelClassifierConfig(
    ensemble=3, hidden=(16, 8), steps=60, batch_pixels=256, lr=0.01, annotated=4
)


@pytest.fixture
def gan():
    """Draws at 16 px, enlarged to 20."""
    torch.manual_seed(0)
    shape = StyleGANConfig(
        size=20, channels=1, latent=16, mapping_layers=2, fmap_base=64, fmap_max=8
    )
    return StyleGAN(shape).eval()


def enlarged(features: list[torch.Tensor], size: int) -> torch.Tensor:
    """The plain way: all activations of all pixels, (N, D, size, size)."""
    return torch.cat(
        [functional.interpolate(f, (size, size), mode="bilinear") for f in features], 1
    )


def classifier(gan: StyleGAN, **values) -> PixelClassifier:
    """An untrained one."""
    _, features = gan.sample_features(1, 0)
    torch.manual_seed(1)
    return PixelClassifier(sum(f.shape[1] for f in features), 3, replace(CONFIG, **values)).eval()


def bright(images: torch.Tensor) -> torch.Tensor:
    """An annotator: what is brighter than middle grey."""
    return (images[:, 0] > 0.5).long()


def test_sampled_pixels_equal_enlarged_maps(gan):
    _, features = gan.sample_features(2, 0)
    whole = enlarged(features, 16)
    rows, pixels = torch.tensor([0, 1, 1]), torch.tensor([0, 137, 255])
    expected = whole.flatten(2)[rows, :, pixels]
    torch.testing.assert_close(
        sample_pixels(features, 16, rows, pixels), expected, atol=1e-4, rtol=1e-4
    )


def test_strips_equal_pixels_one_by_one(gan):
    _, features = gan.sample_features(1, 0)
    model = classifier(gan)
    pixels = enlarged(features, 16).permute(0, 2, 3, 1).flatten(0, 2)
    expected = model(pixels).softmax(2).view(3, 16, 16, 3)
    for rows in (slice(0, 16), slice(0, 1), slice(5, 12), slice(15, 16)):
        found = model.probabilities(features, 16, rows)
        torch.testing.assert_close(found, expected[:, rows], atol=1e-4, rtol=1e-4)


def test_memory_of_strips_does_not_change_the_annotation(gan):
    _, features = gan.sample_features(1, 0)
    model = classifier(gan)
    whole, doubts = _vote(model, features, 16)
    narrow, close = _vote(model, features, 16, values=3 * 16 * 16 * 5)
    assert torch.equal(whole, narrow) and len(whole.argmax(-1).unique()) > 1
    torch.testing.assert_close(doubts, close, atol=1e-5, rtol=1e-4)


def test_rows_are_the_same_whatever_they_are_asked_for_with(gan):
    model = classifier(gan)
    whole = annotate(gan, model, range(0, 5), seed=7, psi=1.0)
    parts = [annotate(gan, model, rows, seed=7, psi=1.0) for rows in (slice(0, 2), slice(2, 5))]
    for found, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(found, torch.cat(pieces))
    assert whole[0].unique(dim=0).shape[0] == 5
    assert annotate(gan, model, range(0, 0), seed=1)[1].shape == (0, 20, 20)


def test_annotation_is_at_the_native_size_and_votes_are_enlarged():
    torch.manual_seed(0)
    shape = StyleGANConfig(
        size=32, channels=1, max_size=8, latent=16, mapping_layers=2, fmap_base=64, fmap_max=8
    )
    gan = StyleGAN(shape).eval()
    model = classifier(gan)
    _, masks, _ = annotate(gan, model, range(1), seed=0, psi=1.0)
    coarse, _ = _vote(model, gan.sample_features(1, 0, 1.0)[1], 8)
    assert coarse.shape == (8, 8, 3) and coarse.sum(-1).unique().tolist() == [3]
    expected = functional.interpolate(coarse.permute(2, 0, 1)[None], 32, mode="bilinear").argmax(1)
    assert torch.equal(masks, expected) and len(masks.unique()) > 1


def test_masks_are_reduced_by_majority_of_area():
    masks = torch.zeros(1, 4, 4, dtype=torch.long)
    masks[0, :2, :2] = torch.tensor([[2, 2], [2, 1]])
    masks[0, 2:, 2:] = torch.tensor([[1, 0], [0, 0]])
    masks[0, :2, 2:] = torch.tensor([[2, 2], [1, 1]])
    assert train.coarse(masks, 2, 3)[0].tolist() == [[2, 1], [0, 0]]
    assert torch.equal(train.coarse(masks, 4, 3).long(), masks)


def test_votes_and_divergence_by_hand():
    agree = torch.tensor([1.0, 0.0]).view(1, 1, 2).repeat(2, 1, 1)
    split = agree.clone()
    split[1] = split[1].flip(1)
    assert divergence(agree).item() == 0
    assert divergence(split).item() == pytest.approx(math.log(2))
    assert votes(torch.cat([agree, split[1:]])).tolist() == [[2, 1]]


def test_learns_annotates_and_repeats(gan, tmp_path):
    config = replace(CONFIG, steps=250, annotated=16)
    model = train_pixel_classifier(gan, bright, 2, config, TrainingRun(tmp_path / "a"))
    images, masks, doubt = annotate(gan, model, range(9), seed=7)
    assert images.shape == (9, 1, 20, 20) and masks.shape == (9, 20, 20) and doubt.shape == (9,)
    assert images.min() >= 0 and images.max() <= 1
    assert (masks == bright(images)).float().mean() > 0.9
    assert 0.05 < masks.float().mean() < 0.95
    again = train_pixel_classifier(gan, bright, 2, config, TrainingRun(tmp_path / "b"))
    assert all(torch.equal(model.state_dict()[k], v) for k, v in again.state_dict().items())
    rebuilt = PixelClassifier.from_state(model.state_dict(), 2, config)
    assert torch.equal(annotate(gan, rebuilt, range(9), seed=7)[1], masks)


def test_the_most_uncertain_are_left_out():
    config = replace(CONFIG, drop_quantile=0.1)
    assert [config.drawn(n) for n in (0, 9, 10, 60)] == [0, 10, 12, 67]
    assert keep(torch.tensor([0.3, 0.1, 0.9, 0.1, 0.2]), 3).tolist() == [1, 3, 4]


def test_the_annotator_sees_full_size_images_a_few_at_a_time(gan, tmp_path):
    seen = []

    def annotator(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return bright(images)

    config = replace(CONFIG, steps=1, annotated=6)
    train_pixel_classifier(gan, annotator, 2, config, TrainingRun(tmp_path, seed=3))
    assert [len(part) for part in seen] == [4, 2]
    expected = (gan.sample(6, seed=3, psi=gan.config.psi).clamp(-1, 1) + 1) / 2
    assert torch.equal(torch.cat(seen), expected)


@pytest.mark.parametrize("held", [2**28, 12_000])
def test_resuming_gives_the_same_bytes(gan, tmp_path, monkeypatch, held):
    # In the second case two images' activations fit at once, and others come every few steps.
    monkeypatch.setattr(train, "HELD_VALUES", held)
    monkeypatch.setattr(train, "TURN", 7)

    def stop(done: int, total: int, text: str) -> None:
        if done == 30 and not stopped:
            stopped.append(done)
            raise InterruptedError

    stopped: list[int] = []
    whole = train_pixel_classifier(gan, bright, 2, CONFIG, TrainingRun(tmp_path / "a"))
    run = TrainingRun(tmp_path / "b", checkpoint_seconds=0, progress=stop)
    with pytest.raises(InterruptedError):
        train_pixel_classifier(gan, bright, 2, CONFIG, run)
    resumed = train_pixel_classifier(gan, bright, 2, CONFIG, run)
    assert all(torch.equal(whole.state_dict()[k], v) for k, v in resumed.state_dict().items())


def test_no_more_activations_are_held_than_fit(gan, monkeypatch):
    _, features = gan.sample_features(1, 0)
    one = sum(f.numel() for f in features)
    monkeypatch.setattr(train, "HELD_VALUES", 2 * one)
    held = train._Held(gan, replace(CONFIG, annotated=5), seed=0)
    seen = set()
    for step in range(0, 10 * train.TURN, train.TURN):
        images, features = held.at(step)
        assert sum(f.numel() for f in features) <= 2 * one
        _, expected = gan.sample_features(1, 0, start=int(images[1]))
        assert torch.equal(features[-1][1:], expected[-1])
        seen |= set(images.tolist())
    assert seen == set(range(5))


def test_presets_and_errors(gan, tmp_path):
    assert preset("quick", untrained=True, annotated=5).steps == 0
    assert preset("paper").hidden == (128, 32) and preset("paper").ensemble == 10
    with pytest.raises(ValueError, match="preset"):
        preset("huge")
    with pytest.raises(ValueError, match="options"):
        preset("quick", colour=1)
    with pytest.raises(ValueError, match="shape"):
        train_pixel_classifier(gan, lambda x: x[:1, 0], 2, CONFIG, TrainingRun(tmp_path))
    with pytest.raises(ValueError, match="outside"):
        train_pixel_classifier(gan, lambda x: bright(x) + 1, 2, CONFIG, TrainingRun(tmp_path))
