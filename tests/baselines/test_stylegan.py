"""G1: schedule, sampling, resuming, and whether it learns."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from umbench_baselines.stylegan.augment import augment
from umbench_baselines.stylegan.config import StyleGANConfig
from umbench_baselines.stylegan.networks import Conv, Discriminator, StyleGAN, batch_deviation, blur
from umbench_baselines.stylegan.presets import preset
from umbench_baselines.stylegan.source import STEPS, Reduced, reduced
from umbench_baselines.stylegan.train import gradient_penalty, train_stylegan
from umbench_baselines.training import Devices, TrainingRun, share

TINY = StyleGANConfig(
    size=20,
    channels=1,
    stage_images=(16, 16),
    stage_batches=(4, 4),
    start_size=8,
    latent=16,
    mapping_layers=2,
    fmap_base=64,
    fmap_max=16,
    r1_interval=2,
    ema_images=20,
    augment=("brightness", "translation", "cutout"),
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def fresh_accelerate():
    """Accelerate keeps one precision per process; forget it before and after."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)


@dataclass(frozen=True)
class Held:
    """Images (N, C, S, S) in [-1, 1] as a source."""

    images: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def size(self) -> int:
        return self.images.shape[2]

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        return self.images[rows]


def blobs(count: int, size: int, seed: int = 0) -> Held:
    """Bright discs left of the middle on a dark ground, in [-1, 1]."""
    source = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    x, y, radius = (torch.rand(3, count, 1, 1, generator=source) - 0.5).unbind(0)
    distance = (axis[None, None] + 0.4 - 0.2 * x) ** 2 + (axis[None, :, None] - 0.2 * y) ** 2
    return Held(((distance < (0.45 + 0.1 * radius) ** 2).float() * 1.6 - 0.8)[:, None])


def test_paper_schedule():
    config = preset("paper", size=1024, channels=1, count=1000, max_size=256)
    assert config.resolutions == (4, 8, 16, 32, 64, 128, 256)
    assert config.stage_images == (8000, 16000, 16000, 32000, 32000, 64000, 64000)
    assert config.stage_batches == (128, 128, 128, 64, 32, 16, 8)
    assert config.stage_steps[0] == 63 and config.stage_steps[-1] == 8000
    assert (config.lr, config.latent, config.mapping_layers) == (0.003, 512, 8)
    assert [config.width(4 * 2**k) for k in range(9)] == [512] * 4 + [256, 128, 64, 32, 16]
    assert preset("paper", size=64, channels=3, count=10).stage_batches == (128, 128, 128, 64, 32)


@pytest.mark.parametrize("target", ["masks", "guidance", "images"])
def test_paper_draws_at_the_size_of_the_images_and_keeps_four_gpus_busy(target):
    config = preset("paper", size=1024, channels=1, count=10, target=target)
    assert config.native == 1024 and len(config.resolutions) == 9
    assert config.stage_images[-3:] == (640, 640, 640)
    for batch in config.stage_batches:
        rows = [share(batch, 4, rank)[0] for rank in range(4)]
        assert len({part.start for part in rows}) == 4
        assert min(part.stop - part.start for part in rows) >= 2
    assert StyleGANConfig(size=1024, channels=1).native == 1024


def test_fade_follows_the_step():
    alphas = [TINY.position(k) for k in range(sum(TINY.stage_steps))]
    assert [p.stage for p in alphas] == [0] * 4 + [1] * 4
    assert [p.alpha for p in alphas] == [1, 1, 1, 1, 0.5, 1, 1, 1]


def test_the_learning_rate_falls_at_the_end(tmp_path):
    config = replace(TINY, decay=0.5, lr=0.4)
    assert [config.rate(k) for k in range(8)] == pytest.approx([0.4] * 5 + [0.3, 0.2, 0.1])
    assert replace(TINY, decay=0.0).rate(7) == TINY.lr
    with pytest.raises(ValueError, match="decay"):
        replace(TINY, decay=1.5)
    images = blobs(10, 20)
    gan = train_stylegan(images, replace(TINY, decay=1.0), TrainingRun(tmp_path / "a", seed=5))
    constant = train_stylegan(images, TINY, TrainingRun(tmp_path / "b", seed=5))
    assert not torch.equal(gan.constant, constant.constant)


@pytest.mark.parametrize("name", ["quick", "small", "paper"])
def test_presets_adapt(name):
    masks = preset(name, size=96, channels=3, count=10, target="masks")
    assert masks.native == (32 if name == "quick" else 64) and min(masks.stage_steps) > 0
    assert preset(name, size=96, channels=1, count=10, target="images").native == 64
    assert preset(name, size=1024, channels=3, count=10, max_size=32).native == 32
    assert preset(name, size=96, channels=3, count=10, untrained=True).stage_steps == ()
    assert preset(name, size=4, channels=1, count=10).resolutions == (4,)
    assert len(preset(name, size=512, channels=1, count=10, max_size=512).stage_steps) >= 7


def test_wrong_configurations():
    with pytest.raises(ValueError, match="preset"):
        preset("huge", size=64, channels=1, count=10)
    with pytest.raises(ValueError, match="target"):
        preset("quick", size=64, channels=1, count=10, target="mask")
    with pytest.raises(ValueError, match="2 needed"):
        replace(TINY, stage_images=(1,), stage_batches=(1,))
    with pytest.raises(ValueError, match="power of two"):
        replace(TINY, start_size=6)
    with pytest.raises(ValueError, match="side 16"):
        train_stylegan(Held(torch.zeros(2, 1, 16, 16)), TINY, TrainingRun(Path("unused")))


def test_fused_convolutions_equal_plain_ones():
    x = torch.randn(2, 3, 8, 8)
    plain, up, down = Conv(3, 5), Conv(3, 5, change="up"), Conv(3, 5, change="down")
    for fused in (up, down):
        fused.load_state_dict(plain.state_dict())
    twice = functional.interpolate(x, scale_factor=2, mode="nearest")
    torch.testing.assert_close(up(x), plain(twice), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(down(x), functional.avg_pool2d(plain(x), 2), atol=1e-5, rtol=1e-4)


def test_blur_keeps_the_mean_and_smooths():
    x = torch.zeros(1, 2, 5, 5)
    x[0, 0, 2, 2] = 16
    assert blur(x)[0, 0, 1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert blur(x)[0, 1].abs().sum() == 0


def test_batch_deviation_sees_collapse():
    same = batch_deviation(torch.ones(4, 2, 4, 4))
    varied = batch_deviation(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 2, 4, 4))
    assert same.shape == (4, 3, 4, 4) and same[:, 2].max() < 1e-3
    assert varied[0, 2, 0, 0] == pytest.approx(1.25**0.5, abs=1e-4)


def test_penalty_reaches_the_weights():
    torch.manual_seed(0)
    network = Discriminator(TINY)
    _, penalty = gradient_penalty(network, torch.randn(4, 1, 16, 16), 0.5)
    penalty.backward()
    assert penalty > 0
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for name, p in network.named_parameters()
        if name.endswith("weight")
    )


@pytest.mark.parametrize("kind", ["brightness", "translation", "cutout"])
def test_augmentation_is_differentiable(kind):
    torch.manual_seed(0)
    x = torch.randn(8, 2, 16, 16, requires_grad=True)
    y = augment(x, [kind])
    assert y.shape == x.shape and not torch.equal(y, x)
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() > 0
    with pytest.raises(ValueError, match="colour"):
        augment(x, ["colour"])


def test_translation_shifts_whole_images():
    torch.manual_seed(1)
    x = torch.zeros(16, 1, 16, 16)
    x[:, :, 8, 8] = 1
    y = augment(x, ["translation"])
    assert y.sum((1, 2, 3)).tolist() == [1.0] * 16
    assert len({int(i) for i in y.flatten(1).argmax(1)}) > 3


def test_reduced_copies_are_area_averages(tmp_path):
    images = blobs(5, 20)
    small = reduced(images, 8, tmp_path / "run", Devices())
    assert isinstance(small, Reduced) and small.values.dtype.itemsize == 2
    assert (len(small), small.channels, small.size) == (5, 1, 8)
    rows = torch.tensor([3, 0, 3])
    expected = functional.interpolate(images.images[rows], 8, mode="area")
    assert len(expected.unique()) > 10
    torch.testing.assert_close(small.batch(rows), expected, atol=1.01 / STEPS, rtol=0)
    assert isinstance(small.values, np.memmap) and not list((tmp_path / "run").iterdir())
    assert reduced(images, 20, tmp_path, Devices()) is images
    held = Held(torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4))
    ends = reduced(held, 2, tmp_path, Devices())
    assert ends.batch(torch.arange(2))[:, 0, 0, 0].tolist() == [-1, 1]


def test_copies_are_made_chunk_by_chunk(monkeypatch, tmp_path):
    asked = []

    class Watched(Held):
        def batch(self, rows: torch.Tensor) -> torch.Tensor:
            asked.append(rows.tolist())
            return super().batch(rows)

    images = blobs(5, 20)
    whole = reduced(images, 8, tmp_path, Devices())
    monkeypatch.setattr("umbench_baselines.stylegan.source.CHUNK_VALUES", 2 * 20**2)
    chunked = reduced(Watched(images.images), 8, tmp_path, Devices())
    assert asked == [[0, 1], [2, 3], [4]]
    assert (chunked.values == whole.values).all()


def test_a_training_reads_one_stage_at_a_time(tmp_path):
    asked = []

    class Watched(Held):
        def batch(self, rows: torch.Tensor) -> torch.Tensor:
            asked.append((step[0], len(rows)))
            return super().batch(rows)

    step = [0]
    run = TrainingRun(tmp_path, progress=lambda done, total, text: step.__setitem__(0, done))
    config = replace(TINY, size=16)
    train_stylegan(Watched(blobs(10, 16).images), config, run)
    # The first stage is copied once; the last one is the source itself, read batch by batch.
    assert asked == [(0, 10), (4, 4), (5, 4), (6, 4), (7, 4)]


def test_sampling_shapes_truncation_and_independence():
    torch.manual_seed(0)
    gan = StyleGAN(TINY).eval()
    for layer in gan.layers:
        torch.nn.init.constant_(layer.noise, 0.3)
    images = gan.sample(5, seed=3, psi=1.0)
    assert images.shape == (5, 1, 20, 20) and images.dtype == torch.float32
    assert torch.equal(images[:3], gan.sample(3, seed=3, psi=1.0))
    assert torch.equal(images[2:], gan.sample(3, seed=3, psi=1.0, start=2))
    assert not torch.allclose(images, gan.sample(5, seed=4, psi=1.0))
    assert gan.sample(0, seed=0).shape == (0, 1, 20, 20)
    for layer in gan.layers:
        torch.nn.init.zeros_(layer.noise)
    spread = [gan.sample(6, seed=0, psi=psi).std(0).mean() for psi in (0.0, 0.5, 1.0)]
    assert spread[0] < 1e-5 < spread[1] < spread[2]


def test_features_of_all_layers():
    torch.manual_seed(0)
    gan = StyleGAN(TINY).eval()
    images, features = gan.sample_features(2, seed=3, psi=0.7)
    assert images.shape == (2, 1, 16, 16)
    assert torch.equal(gan.enlarged(images), gan.sample(2, seed=3, psi=0.7))
    assert [tuple(f.shape) for f in features] == [
        (2, 16, 4, 4), (2, 16, 4, 4), (2, 16, 8, 8), (2, 16, 8, 8), (2, 8, 16, 16), (2, 8, 16, 16),
    ]  # fmt: skip
    torch.testing.assert_close(gan.to_image["16"](features[-1]), images)
    _, second = gan.sample_features(1, seed=3, psi=0.7, start=1)
    assert all(torch.equal(a[1:], b) for a, b in zip(features, second, strict=True))


class Interrupted(Exception):
    pass


def test_resuming_gives_the_same_bytes(tmp_path):
    images = blobs(10, 20)
    whole = train_stylegan(images, TINY, TrainingRun(tmp_path / "a", seed=5)).state_dict()

    def stop(done: int, total: int, text: str) -> None:
        # The first stop lies between the stages, the second within the fade-in.
        if done in stops:
            stops.remove(done)
            raise Interrupted

    stops = [3, 5, 6]
    run = TrainingRun(tmp_path / "b", seed=5, checkpoint_seconds=0, progress=stop)
    for _ in range(3):
        with pytest.raises(Interrupted):
            train_stylegan(images, TINY, run)
    resumed = train_stylegan(images, TINY, run).state_dict()
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    other = train_stylegan(images, TINY, TrainingRun(tmp_path / "c", seed=6)).state_dict()
    assert not torch.equal(whole["constant"], other["constant"])


def test_no_steps_leave_the_initial_network(tmp_path):
    config = replace(TINY, stage_images=(), stage_batches=())
    images = blobs(4, 20)
    gan = train_stylegan(images, config, TrainingRun(tmp_path / "a", seed=1))
    assert torch.equal(gan.w_avg, torch.zeros(16)) and not gan.training
    again = train_stylegan(images, config, TrainingRun(tmp_path / "b", seed=1))
    assert torch.equal(gan.sample(2, 0), again.sample(2, 0))


def test_bf16_and_masks_train(tmp_path, fresh_accelerate):
    config = replace(TINY, channels=3, augment=("translation",), stage_images=(8, 8))
    images = Held(torch.randn(4, 3, 20, 20).clamp(-1, 1))
    gan = train_stylegan(images, config, TrainingRun(tmp_path, precision="bf16"))
    assert gan.sample(1, 0).dtype == torch.float32 and gan.sample(1, 0).isfinite().all()


def test_training_approaches_the_data(tmp_path):
    images = blobs(64, 16)
    config = replace(
        TINY, size=16, stage_images=(1600, 1600), stage_batches=(16, 16), r1_gamma=1.0,
        ema_images=200, augment=(),
    )  # fmt: skip
    start = replace(config, stage_images=(), stage_batches=())
    before = train_stylegan(images, start, TrainingRun(tmp_path / "a"))
    after = train_stylegan(images, config, TrainingRun(tmp_path / "b"))

    def distance(gan: StyleGAN) -> float:
        return float((gan.sample(32, 0, psi=1.0).mean(0) - images.images.mean(0)).square().mean())

    assert distance(after) < 0.25 * distance(before)
    assert distance(after) < 0.1
