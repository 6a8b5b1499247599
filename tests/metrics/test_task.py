"""Task networks: do they learn, go on where they were, and keep their record?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from umbench_baselines.training import TrainingRun
from umbench_metrics.extractors.age import age_group
from umbench_metrics.extractors.task import (
    PRESETS,
    TaskConfig,
    TaskNetwork,
    augment,
    balanced_accuracy,
    balanced_rows,
    beats_majority,
    load_task,
    preset,
    save_task,
    train_task,
)

from umbench.stages.extractor import DeviceLoop

TINY = TaskConfig(backbone="compact", width=4, steps=40, batch=12, lr=1e-2, seed=3)


@dataclass(frozen=True)
class Held:
    """Images in memory that note what is asked of them."""

    values: torch.Tensor
    asked: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, rows: np.ndarray) -> torch.Tensor:
        self.asked.append(rows)
        return self.values[torch.from_numpy(rows)]


def stripes(count: int, seed: int) -> tuple[Held, torch.Tensor]:
    """Two classes, one three times as frequent: stripes across or along, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.arange(count) % 4 == 0).long()
    phase = torch.rand(count, 1, 1, 1, generator=generator) * 6
    wave = 0.5 + 0.4 * torch.sin(torch.arange(32) * 1.2 + phase).expand(-1, 1, 32, -1)
    images = torch.where(targets[:, None, None, None] == 1, wave, wave.transpose(2, 3))
    noise = 0.1 * torch.randn(images.shape, generator=generator)
    return Held((images + noise).clamp(0, 1)), targets


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., TaskNetwork]:
    """Trains in a folder of its own unless one is named."""
    folders = (tmp_path / f"run-{k}" for k in range(99))

    def trained(
        config: TaskConfig = TINY, *, known=None, held_out=None, classes=2, run=None, **options
    ) -> TaskNetwork:
        run = run or TrainingRun(folder=next(folders), seed=config.seed)
        return train_task(
            *(known or stripes(48, 0)), classes, config, loop=DeviceLoop(run),
            held_out=held_out or stripes(40, 1), **options,
        )  # fmt: skip

    return trained


def test_learns_and_keeps_its_record(train, tmp_path: Path) -> None:
    network = train(trained_on=("s1", "s2"), name="sex")
    assert network.accuracy > 0.9
    assert network.better_than_chance
    assert (network.n_held_out, network.chance) == (40, 0.5)
    save_task(network, tmp_path)
    back = load_task(tmp_path)
    for key in ("name", "accuracy", "n_held_out", "chance", "better_than_chance", "trained_on"):
        assert getattr(back, key) == getattr(network, key)
    assert back.fingerprint == network.fingerprint
    images = stripes(4, 2)[0].values
    torch.testing.assert_close(back(images), network(images))


def test_noise_is_no_better_than_chance(train) -> None:
    noise = torch.rand(80, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(80) % 2
    config = TaskConfig(backbone="compact", width=4, steps=5, batch=8)
    halves = [(Held(noise[part]), targets[part]) for part in (slice(40), slice(40, None))]
    assert not train(config, known=halves[0], held_out=halves[1]).better_than_chance


class Killed(Exception):
    pass


def test_resumes_to_the_same_bytes(train, tmp_path: Path) -> None:
    def kill(done: int, total: int, text: str) -> None:
        if done == 20:
            raise Killed

    def run(progress) -> TrainingRun:
        return TrainingRun(
            folder=tmp_path / "killed", seed=3, checkpoint_seconds=0.0, progress=progress
        )

    with pytest.raises(Killed):
        train(run=run(kill))
    seen: list[int] = []
    resumed = train(run=run(lambda done, total, text: seen.append(done)))
    assert seen == list(range(20, 41))
    assert resumed.fingerprint == train().fingerprint


def test_reads_batch_by_batch_what_its_classes_hold(train) -> None:
    known, held_out = stripes(48, 0), stripes(40, 1)
    train(known=known, held_out=held_out)
    assert [len(rows) for rows in known[0].asked] == [TINY.batch] * TINY.steps
    for rows in known[0].asked:
        assert known[1][rows].sum() == TINY.batch / 2  # though one class is a quarter of the set
    assert len({tuple(rows) for rows in known[0].asked}) == TINY.steps
    assert max(len(rows) for rows in held_out[0].asked) < 40
    assert np.concatenate(held_out[0].asked).tolist() == list(range(40))


def test_a_process_trains_on_its_share_of_the_same_rows(train, tmp_path: Path) -> None:
    class Second(DeviceLoop):
        def shard(self, batch: torch.Tensor) -> torch.Tensor:
            return batch[8:]

    whole, part = stripes(48, 0), stripes(48, 0)
    train(known=whole)
    run = TrainingRun(folder=tmp_path / "second", seed=3)
    train_task(*part, 2, TINY, loop=Second(run), held_out=stripes(4, 1))
    for all_rows, rows in zip(whole[0].asked, part[0].asked, strict=True):
        assert rows.tolist() == all_rows[8:].tolist()


def test_mixed_precision_trains_and_scores_in_float32(train, tmp_path: Path) -> None:
    run = TrainingRun(folder=tmp_path / "bf16", seed=3, precision="bf16")
    network = train(run=run)
    assert network.accuracy > 0.9
    assert network.fingerprint != train().fingerprint
    features = network(stripes(4, 2)[0].values)
    assert features.dtype == torch.float32
    assert not torch.equal(features, features.bfloat16().float())


def test_caller_keeps_its_random_numbers(train) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(TaskConfig(backbone="compact", width=4, steps=1, batch=4))
    assert torch.equal(torch.rand(3), expected)


def test_unknown_targets_are_left_out(train) -> None:
    images, targets = stripes(24, 0)
    more = Held(torch.cat([images.values, torch.full((8, 1, 32, 32), torch.nan)]))
    marked = torch.cat([targets, torch.full((8,), -1)])
    config = TaskConfig(backbone="compact", width=4, steps=3, batch=4)
    networks = [
        train(config, known=(x, y), held_out=(x, y)) for x, y in ((images, targets), (more, marked))
    ]
    assert networks[0].fingerprint == networks[1].fingerprint
    assert networks[1].n_held_out == 24
    assert networks[1].accuracy == networks[0].accuracy


def test_inception_takes_small_images_and_learns_a_step(train) -> None:
    images, targets = stripes(4, 0)
    config = TaskConfig(backbone="inception-v3", steps=1, batch=2)
    network = train(config, known=(images, targets), held_out=(images, targets))
    assert network(images.values).shape == (4, 2048)


def test_errors(train) -> None:
    images, targets = stripes(8, 0)
    with pytest.raises(ValueError, match="two classes"):
        train(known=(images, torch.zeros(8).long()))
    with pytest.raises(ValueError, match="target 1 with 1 classes"):
        train(known=(images, targets), classes=1)
    with pytest.raises(ValueError, match="backbone 'vgg'"):
        TaskNetwork("sex", 2, TaskConfig(backbone="vgg"))
    with pytest.raises(ValueError, match="no preset called 'big'"):
        preset("big", seed=0)


def test_rows_follow_from_seed_and_step_alone() -> None:
    groups = [np.arange(100), np.arange(100, 103)]
    rows = balanced_rows(groups, 12, seed=1, step=5)
    assert torch.equal(rows, balanced_rows(groups, 12, seed=1, step=5))
    assert (rows[1::2] >= 100).all() and (rows[::2] < 100).all()
    for seed, step in ((1, 6), (2, 5)):
        assert not torch.equal(rows, balanced_rows(groups, 12, seed=seed, step=step))


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
