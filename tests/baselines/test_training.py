"""Checkpoints: whole or not there; a broken one is passed over; saving costs little."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from umbench_baselines import training
from umbench_baselines.training import (
    CHECKPOINT,
    PREVIOUS,
    Devices,
    Interval,
    TrainingRun,
    load_checkpoint,
    run_loop,
    save_checkpoint,
)


def fit(folder: Path, stop: int | None = None, steps: int = 8) -> torch.Tensor:
    """Eight steps of a random walk, or as many as are left."""
    torch.manual_seed(0)
    model, devices = nn.Linear(3, 1), Devices()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def step(index: int) -> dict[str, torch.Tensor]:
        if index == stop:
            raise KeyboardInterrupt
        loss = (model(torch.randn(4, 3)) - 1).square().mean()
        devices.update(loss, optimizer)
        return {"loss": loss.detach()}

    run = TrainingRun(folder, seed=5, checkpoint_seconds=0.0)
    run_loop({"model": model, "optimiser": optimizer}, steps, step, run, devices)
    return model.weight.detach().clone()


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def foreign(path: Path) -> None:
    torch.save({"step": 7, "parts": {"model": nn.Linear(5, 5).state_dict()}}, path)


def unsafe(path: Path) -> None:
    path.write_bytes(pickle.dumps(print))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "half": half,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "empty": lambda path: path.write_bytes(b""),
    "of other networks": foreign,
    "a pickle": unsafe,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("which", [(CHECKPOINT,), (CHECKPOINT, PREVIOUS)])
def test_a_broken_checkpoint_is_passed_over_and_the_end_is_the_same(
    damage: Callable[[Path], object], which: tuple[str, ...], tmp_path: Path
) -> None:
    undisturbed = fit(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "b", stop=5)
    for name in which:
        damage(tmp_path / "b" / name)
    with pytest.warns(UserWarning, match="passed over"):
        resumed = fit(tmp_path / "b")
    assert torch.equal(undisturbed, resumed)


def test_training_goes_on_from_the_checkpoint_before_a_broken_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, stop=5)
    half(tmp_path / CHECKPOINT)
    model = nn.Linear(3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {"model": model, "optimiser": torch.optim.Adam(model.parameters())}
        assert load_checkpoint(tmp_path, parts) == 4


def test_saving_takes_a_twentieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    spent, saves, interval = 0.0, 0, Interval(20.0)

    def save() -> None:
        clock[0] += 30.0

    while clock[0] < 20_000:
        clock[0] += 1.0  # a step
        if interval.due():
            interval.save(save)
            spent, saves = spent + 30.0, saves + 1
    assert spent / clock[0] <= 0.05
    assert saves > 25, "saved too rarely"


def test_a_quick_save_comes_every_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    interval = Interval(20.0)
    interval.save(lambda: None)
    clock[0] = 19.0
    assert not interval.due()
    clock[0] = 21.0
    assert interval.due()


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path) -> None:
    class Broken(nn.Linear):
        def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:  # type: ignore[override]
            raise OSError(28, "No space left on device")

    save_checkpoint(tmp_path, 3, {"model": nn.Linear(2, 2)})
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, 4, {"model": Broken(2, 2)})
    assert load_checkpoint(tmp_path, {"model": nn.Linear(2, 2)}) == 3
