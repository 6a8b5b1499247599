"""Task networks: do they learn, go on where they were, and keep their record?"""

from pathlib import Path

import pytest
import torch
from umbench_metrics.extractors import task
from umbench_metrics.extractors.task import (
    PRESETS,
    TaskConfig,
    TaskNetwork,
    age_group,
    augment,
    balanced_accuracy,
    beats_majority,
    load_task,
    preset,
    save_task,
    train_task,
)

TINY = TaskConfig(backbone="compact", width=4, steps=40, batch=12, lr=1e-2, seed=3)


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, one three times as frequent: stripes across or along, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.arange(count) % 4 == 0).long()
    phase = torch.rand(count, 1, 1, 1, generator=generator) * 6
    wave = 0.5 + 0.4 * torch.sin(torch.arange(32) * 1.2 + phase).expand(-1, 1, 32, -1)
    images = torch.where(targets[:, None, None, None] == 1, wave, wave.transpose(2, 3))
    noise = 0.1 * torch.randn(images.shape, generator=generator)
    return (images + noise).clamp(0, 1), targets


def train(config: TaskConfig = TINY, **options) -> TaskNetwork:
    images, targets = stripes(48, 0)
    return train_task(images, targets, 2, config, held_out=stripes(40, 1), **options)


def test_learns_and_keeps_its_record(tmp_path: Path) -> None:
    network = train(trained_on=("s1", "s2"), name="sex")
    assert network.accuracy > 0.9
    assert network.better_than_chance
    assert (network.n_held_out, network.chance) == (40, 0.5)
    save_task(network, tmp_path)
    back = load_task(tmp_path)
    for key in ("name", "accuracy", "n_held_out", "chance", "better_than_chance", "trained_on"):
        assert getattr(back, key) == getattr(network, key)
    assert back.fingerprint == network.fingerprint
    images = stripes(4, 2)[0]
    torch.testing.assert_close(back(images), network(images))


def test_noise_is_no_better_than_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(80, 1, 32, 32, generator=generator)
    targets = torch.arange(80) % 2
    config = TaskConfig(backbone="compact", width=4, steps=5, batch=8)
    network = train_task(images[:40], targets[:40], 2, config, held_out=(images[40:], targets[40:]))
    assert not network.better_than_chance


class Killed(Exception):
    pass


def test_resumes_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "CHECKPOINT_SECONDS", 0.0)

    def kill(done: int, total: int, text: str) -> None:
        if done == 20:
            raise Killed

    with pytest.raises(Killed):
        train(folder=tmp_path, progress=kill)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    seen: list[int] = []
    resumed = train(folder=tmp_path, progress=lambda done, total, text: seen.append(done))
    assert seen == list(range(20, 41))
    assert resumed.fingerprint == train().fingerprint


def test_caller_keeps_its_random_numbers() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(TaskConfig(backbone="compact", width=4, steps=1, batch=4))
    assert torch.equal(torch.rand(3), expected)


def test_unknown_targets_are_left_out() -> None:
    images, targets = stripes(24, 0)
    more = torch.cat([images, torch.rand(8, 1, 32, 32)])
    marked = torch.cat([targets, torch.full((8,), -1)])
    config = TaskConfig(backbone="compact", width=4, steps=3, batch=4)
    networks = [
        train_task(x, y, 2, config, held_out=(x, y)) for x, y in ((images, targets), (more, marked))
    ]
    assert networks[0].fingerprint == networks[1].fingerprint
    assert networks[1].n_held_out == 24


def test_inception_takes_small_images_and_learns_a_step() -> None:
    images, targets = stripes(4, 0)
    config = TaskConfig(backbone="inception-v3", steps=1, batch=2)
    network = train_task(images, targets, 2, config, held_out=(images, targets))
    assert network(images).shape == (4, 2048)


def test_errors() -> None:
    images, targets = stripes(8, 0)
    with pytest.raises(ValueError, match="two classes"):
        train_task(images, torch.zeros(8).long(), 2, TINY, held_out=(images, targets))
    with pytest.raises(ValueError, match="target 1 with 1 classes"):
        train_task(images, targets, 1, TINY, held_out=(images, targets))
    with pytest.raises(ValueError, match="backbone 'vgg'"):
        TaskNetwork("sex", 2, TaskConfig(backbone="vgg"))
    with pytest.raises(ValueError, match="no preset called 'big'"):
        preset("big", seed=0)


def test_presets() -> None:
    shorter = round(PRESETS["quick"]().steps * 0.1)
    assert preset("quick", seed=7, scale=0.1) == PRESETS["quick"](seed=7, steps=shorter)
    assert preset("quick", seed=7, scale=1e-9).steps == 1


def test_augmented_images_differ_and_stay_in_range() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 1, 16, 16).repeat(4, 1, 1, 1)
    changed = augment(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0 and changed.max() <= 1
    assert not torch.allclose(changed[0], changed[1])


def test_age_groups() -> None:
    ages = (1, 44, 44.5, 64, 65, 74, 75, 100)
    assert [age_group(age) for age in ages] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_accuracy_and_chance() -> None:
    targets = torch.tensor([0] * 8 + [1] * 2)
    assert balanced_accuracy(torch.zeros(10).long(), targets) == 0.5
    assert balanced_accuracy(targets, targets) == 1.0
    assert not beats_majority(torch.zeros(10).long(), targets)
    assert not beats_majority(targets, targets)  # 10 of 10 at 80 %: p = 0.107
    assert beats_majority(targets.repeat(2), targets.repeat(2))  # p = 0.012
    assert not beats_majority(targets[:0], targets[:0])
