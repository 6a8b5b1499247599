"""Several processes train one network: the same weights in all, one error, nobody left over."""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from umbench_baselines.contracts import (
    Budget,
    LabelMaps,
    Part,
    Pictures,
    Trained,
    TrainingData,
)
from umbench_baselines.datasetgan import config
from umbench_baselines.datasetgan.part import PixelClassifierPart
from umbench_baselines.launch import Progress, device_processes, launch
from umbench_baselines.segmenter import PRESETS, build_segmenter, trained_segmenter
from umbench_baselines.stylegan.part import StyleGANPart
from umbench_baselines.training import Devices, TrainingRun, share
from umbench_baselines.translation.part import TranslationPart


def silent(done: int, total: int, text: str) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def without_gpus() -> Iterator[None]:
    """Two processes need two GPUs or none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(torch.cuda, "device_count", lambda: 0)
        yield


@pytest.fixture(scope="module")
def jobs() -> Iterator[ModuleType]:
    """This module by a name that workers can import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("test_launch")


def discs(labelled: int) -> TrainingData:
    grid = torch.linspace(-1, 1, 32)
    centres = torch.rand(12, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    distance = (grid[None, :, None] - centres[:, 0, None, None]) ** 2
    distance = distance + (grid[None, None, :] - centres[:, 1, None, None]) ** 2
    masks = (distance < 0.2).long()
    grey = (51 + 153 * masks).to(torch.uint8).numpy()
    known = torch.arange(12) < labelled
    maps = LabelMaps(masks.numpy().astype("uint8"), np.arange(12), (0, 1), known.numpy())
    return TrainingData(Pictures.of(grey), Pictures.of(grey), maps, known, classes=2, t=51)


def digest(trained: Trained) -> str:
    found = hashlib.sha256()
    for tensor in trained.weights.values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


GAN = StyleGANPart("images")
PARTS: dict[str, tuple[Part, Budget]] = {
    "g2-guidance": (TranslationPart("guidance"), Budget(scale=0.03)),
    "g1-images": (GAN, Budget(scale=0.01)),
    "pixel-classifier": (PixelClassifierPart(GAN, annotated=4), Budget()),
}


def untrained_segmenter() -> Trained:
    torch.manual_seed(0)
    return trained_segmenter(build_segmenter(2, PRESETS["quick"]), "quick", 2)


def train_parts(folder: Path, parts: list[str], labelled: int, progress: Progress) -> None:
    """A job: parts of each kind; every process writes the hashes of its own networks."""
    config.PRESETS["quick"] = replace(config.PRESETS["quick"], steps=4)
    needs = {"segmenter": untrained_segmenter()}
    rank = Devices().accelerator.process_index
    for name in parts:
        part, budget = PARTS[name]
        run = TrainingRun(folder / name, 3, budget, checkpoint_seconds=0.0, progress=progress)
        needs[name] = part.train(discs(labelled), run, needs)
        (folder / f"{name} {rank}.txt").write_text(digest(needs[name]))


def both(folder: Path, name: str) -> list[str]:
    """What the two processes wrote."""
    return [(folder / f"{name} {rank}.txt").read_text() for rank in (0, 1)]


@pytest.fixture(scope="module")
def trained(jobs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made of all parts, and the progress that was heard."""
    folder = tmp_path_factory.mktemp("trained")
    heard: list[str] = []
    launch(jobs.train_parts, (folder, list(PARTS), 6), 2, lambda *step: heard.append(f"{step}"))
    (folder / "heard.txt").write_text("\n".join(heard))
    return folder


@pytest.mark.parametrize("name", PARTS)
def test_all_processes_end_with_the_same_weights(trained: Path, name: str) -> None:
    first, second = both(trained, name)
    assert first == second


def test_progress_of_the_first_process_is_heard(trained: Path) -> None:
    heard = [line for line in (trained / "heard.txt").read_text().splitlines() if "pixel" in line]
    assert heard == [f"({done}, 4, 'pixel classifier')" for done in (1, 2, 3, 4)]


def test_a_resumed_training_ends_with_the_same_weights(
    trained: Path, jobs: ModuleType, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise Stopped

    arguments = (tmp_path, ["g1-images"], 6)
    with pytest.raises(Stopped):
        launch(jobs.train_parts, arguments, 2, stop)
    assert (tmp_path / "g1-images/checkpoint.pt").exists()
    heard: list[int] = []
    launch(jobs.train_parts, arguments, 2, lambda done, total, text: heard.append(done))
    assert heard[0] > 1
    assert both(tmp_path, "g1-images") == both(trained, "g1-images")


def test_an_error_in_a_worker_is_raised_here(jobs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labelled image to train on") as caught:
        launch(jobs.train_parts, (tmp_path, ["g2-guidance"], 0), 2, silent)
    assert "in train_translation" in str(caught.value.__cause__)


def step_or_die(folder: Path, progress: Progress) -> None:
    """A job: one step on an uneven batch; then the second process is killed."""
    devices = Devices()
    rows = devices.shard(torch.arange(5.0))
    weight, unused = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.ones(1))
    devices.update((rows * weight).mean(), torch.optim.SGD([weight, unused], lr=1.0))
    rank = devices.accelerator.process_index
    found = f"{len(rows)} rows: {weight.item():.6f}, {unused.item()}"
    (folder / f"step {rank}.txt").write_text(found)
    devices.accelerator.wait_for_everyone()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    devices.accelerator.wait_for_everyone()


def test_gradients_are_those_of_the_batch_and_a_dead_worker_is_named(
    jobs: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=r"process 1 of 2 ended with status -9"):
        launch(jobs.step_or_die, (tmp_path,), 2, silent)
    # the mean of 0 .. 4, although one process has two rows and the other three
    assert both(tmp_path, "step") == ["2 rows: -2.000000, 1.0", "3 rows: -2.000000, 1.0"]


def linger(progress: Progress) -> None:
    """A job that does not end."""
    Devices()
    os.write(1, b"here\n")  # at once, not mixed with another's
    time.sleep(600)


def test_workers_end_with_a_killed_parent() -> None:
    # Workers inherit standard output: it is closed once the last of them is gone.
    parent = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert [parent.stdout.readline(), parent.stdout.readline()] == ["here\n", "here\n"]
    parent.kill()
    assert parent.communicate(timeout=120) == ("", None)


def test_stages_train_in_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from umbench.pipeline import Context, Stage
    from umbench.stages import values

    monkeypatch.setenv("UMBENCH_PROCESSES", "2")
    folders: dict[Stage, Path] = {}

    def make(stage: Stage) -> dict[str, int] | None:
        folder = tmp_path / stage.label
        folder.mkdir()
        run = importlib.import_module(stage.RUN).run
        made: dict[str, int] | None = run(
            Context(stage, dict(folders), folder, tmp_path / f"{stage.label} scratch", silent)
        )
        folders[stage] = folder
        return made

    data = values.Phantom(subjects=8, size=64, seed=1, montages=1)
    split = values.Split(data, values.Shares(train=4, validation=2, test=2), labelled=4, seed=0)
    real = values.Real(data, split)
    segment = values.Segment(real, Budget(scale=0.02), seed=0, precision="no")
    train = values.Train(
        StyleGANPart("masks"), real, None, (), None, Budget(scale=0.01), seed=0, precision="bf16"
    )
    make(data)
    make(split)
    assert make(segment) == {"processes": 2}
    assert (folders[segment] / "dice.csv").read_text().count("\n") > 2
    assert make(train) == {"processes": 2}
    assert {path.name for path in folders[train].iterdir()} == {
        "model.json", "model.safetensors",
    }  # fmt: skip


def test_trainings_in_one_process_may_differ_in_precision() -> None:
    for precision, kind in (("bf16", torch.bfloat16), ("no", torch.float32)):
        devices = Devices(precision)
        layer, x = nn.Linear(2, 2).to(devices.device), torch.ones(1, 2, device=devices.device)
        with devices.autocast():
            assert layer(x).dtype == kind
    with pytest.raises(ValueError, match="fp8"):
        Devices("fp8")


def test_one_process_is_this_one() -> None:
    ran: list[int] = []
    launch(lambda value, progress: ran.append(value), (3,), 1, silent)
    assert ran == [3]


def test_shares_of_a_batch_weigh_as_their_rows() -> None:
    for count in range(1, 20):
        for world in range(1, 10):
            shares = [share(count, world, rank) for rank in range(world)]
            rows = torch.arange(float(count))
            means = [weight * rows[mine].mean() for mine, weight in shares]
            torch.testing.assert_close(torch.stack(means).mean(), rows.mean())
            assert min(mine.stop - mine.start for mine, _ in shares) >= min(2, count)
    assert share(7, 1, 0) == (slice(0, 7), 1.0)


def test_the_number_of_processes_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UMBENCH_PROCESSES", raising=False)
    assert device_processes() == 1
    monkeypatch.setenv("UMBENCH_PROCESSES", "5")
    assert device_processes() == 5
    for wrong in ("0", "-2", "two", ""):
        monkeypatch.setenv("UMBENCH_PROCESSES", wrong)
        with pytest.raises(ValueError, match="must be a positive integer"):
            device_processes()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("UMBENCH_PROCESSES", "3")
    with pytest.raises(ValueError, match="visible GPUs: 2"):
        device_processes()
    monkeypatch.delenv("UMBENCH_PROCESSES")
    assert device_processes() == 2


if __name__ == "__main__":
    launch(linger, (), 2, silent)
