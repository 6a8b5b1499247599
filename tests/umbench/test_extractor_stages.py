"""Stages `extractor` and `features`: who sees which image, and what a kill may cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pytest
import torch
from umbench_baselines.contracts import Budget
from umbench_baselines.training import TrainingRun
from umbench_metrics.degrade import degrade
from umbench_metrics.extractors.task import TaskConfig, TaskNetwork, load_task, save_task
from umbench_metrics.features import extract
from umbench_metrics.images import Images

from umbench.data.annotated_set import Encoding, SetInfo
from umbench.data.rows import write_arrays
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context, Stage
from umbench.stages import extractor, features, values
from umbench.stages.artifacts import PIXELS, load_arrays, save_tables
from umbench.stages.values import (
    Extract,
    Folder,
    ImageSource,
    Phantom,
    Producer,
    Real,
    Split,
)

S = TypeVar("S", bound=Stage)
Scored = Callable[..., Context[Extract]]
BUDGET = Budget()
DEGRADED = ImageSource("degraded", ())
SIDE = 16
REAL = {"train": 12, "validation": 6, "test": 7}


def stored(folder: Path, images: np.ndarray) -> Path:
    """A set of one subject per image, women and men in turn, as a stage would leave it."""
    count = len(images)
    table = pd.DataFrame(
        {
            "file_name": [f"images/{i:05d}.png" for i in range(count)],
            "mask_file_name": "",
            "subject": [f"s{i}" for i in range(count)],
            "split": "",
            "sex": ["F", "M"] * (count // 2) + ["F"] * (count % 2),
            "age": np.nan,
        }
    )
    info = SetInfo(name="set", encoding=Encoding(unit="none"), classes={0: "background"})
    folder.mkdir(parents=True, exist_ok=True)
    save_tables(folder, info, table)
    write_arrays(folder / PIXELS, {"images": images})
    return folder


def numbered(start: int, count: int) -> np.ndarray:
    """Images that say which they are."""
    values = np.arange(start, start + count, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None], (count, SIDE, SIDE)).copy()


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, SIDE, SIDE)).astype(np.uint8)


DATA = Phantom(25, SIDE, seed=0, montages=1)
SET = Real(DATA, Split(DATA, None, None, 0))
Made = dict[Stage, Path]
"""Stages, and where their entries lie."""


def generated(name: str) -> Producer:
    """A stage whose result is planted."""
    return Folder(name, "")


@pytest.fixture
def real(tmp_path: Path) -> Made:
    """Real images 0 .. 24 and their split."""
    split = [name for name, count in REAL.items() for _ in range(count)]
    (tmp_path / "split").mkdir()
    pd.DataFrame(
        {"subject": [f"s{i}" for i in range(len(split))], "split": split, "labelled": 1}
    ).to_csv(tmp_path / "split/split.csv", index=False)
    return {DATA: stored(tmp_path / "data", numbered(0, 25)), SET.split: tmp_path / "split"}


def context(folder: Path, stage: S, made: Made) -> Context[S]:
    (folder / "output").mkdir(parents=True)
    return Context(stage, made, folder / "output", folder / "scratch")


def task(name: str, budget: Budget = BUDGET, seed: int = 0, **more: Any) -> values.TaskNetwork:
    return values.TaskNetwork(name, SET, budget, seed, "no", **more)


class Killed(Exception):
    pass


def killed_at(number: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, text: str) -> None:
        if done >= number:
            raise Killed

    return progress


def numbers(images: Images, rows: np.ndarray) -> set[int]:
    return set((images.batch(rows)[:, 0, 0, 0] * 255).round().int().tolist())


@pytest.mark.parametrize("fold", [0, 1])
def test_a_source_network_never_sees_what_it_scores(tmp_path: Path, real: Made, fold: int) -> None:
    a, u, v = (generated(name) for name in "auv")
    made = {
        **real,
        a: stored(tmp_path / "a", numbered(100, 10)),
        u: stored(tmp_path / "u", numbered(150, 5)),
        v: stored(tmp_path / "v", numbered(180, 4)),
    }
    sources = (ImageSource("a", (a,)), ImageSource("untrained", (u, v)), DEGRADED)
    stage = task("source", told_apart=sources, fold=fold, folds=2)
    known, held_out, classes, seen = extractor.examples(context(tmp_path / "s", stage, made))
    assert (classes, seen) == (4, ("real", "a", "untrained", "degraded"))
    every = [set(range(100, 110)), {*range(150, 155), *range(180, 184)}]
    inside = [
        set(range(100 + fold, 110, 2)),
        {*range(150 + fold, 155, 2), *range(180 + fold, 184, 2)},
    ]
    for (images, targets), reals, sources in (
        (known, set(range(12)), [e - i for e, i in zip(every, inside, strict=True)]),
        (held_out, set(range(12, 18)), inside),
    ):
        assert len(images) == len(targets)
        rows = [np.flatnonzero(targets == label) for label in range(classes)]
        assert [numbers(images, r) for r in rows[:3]] == [reals, *sources]
    scored = features.fold_rows(10, 2, reference=False)[fold]
    assert {100 + row for row in scored} == inside[0]


def test_damaged_train_images_are_a_source(tmp_path: Path, real: Made) -> None:
    stage = task("source", told_apart=(DEGRADED,), fold=0, folds=2)
    (images, targets), _, _, _ = extractor.examples(context(tmp_path / "s", stage, real))
    train = torch.from_numpy(numbered(0, 12)[:, None] / 255).float()
    damaged = images.batch(np.flatnonzero(targets == 1))
    torch.testing.assert_close(damaged, degrade(train, seed=1))


def sex(folder: Path, real: Made, progress: Any = lambda *_: None) -> Context[values.TaskNetwork]:
    stage = task("sex", Budget(scale=0.05), seed=4)
    return replace(context(folder, stage, real), progress=progress)


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, real: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = partial(TrainingRun, checkpoint_seconds=0.0)
    monkeypatch.setattr(extractor, "TrainingRun", often)
    undisturbed = sex(tmp_path / "undisturbed", real)
    facts = extractor.run(undisturbed)
    assert facts["n_held_out"] == REAL["validation"]

    disturbed = sex(tmp_path / "killed", real, killed_at(6))
    with pytest.raises(Killed):
        extractor.run(disturbed)
    assert not list(disturbed.output.iterdir())
    seen: list[int] = []
    extractor.run(replace(disturbed, progress=lambda done, *_: seen.append(done)))
    assert seen == [6, 7, 8, 9, 10]
    for name in ("task.safetensors", "task.json"):
        ends = [(c.output / name).read_bytes() for c in (undisturbed, disturbed)]
        assert ends[0] == ends[1]
    assert load_task(disturbed.output).trained_on == tuple(sorted(f"s{i}" for i in range(12)))


def test_one_class_is_not_enough(tmp_path: Path, real: Made) -> None:
    with pytest.raises(NotMeasuredError, match=r"extractor age: .* fewer than two classes"):
        extractor.run(context(tmp_path / "age", task("age"), real))


@pytest.fixture
def scored(tmp_path: Path) -> Scored:
    """Makes contexts in which 300 images are seen by two untrained networks, 150 by each."""
    made: Made = {DATA: stored(tmp_path / "images", noise(300)), SET.split: tmp_path / "split"}
    (tmp_path / "split").mkdir()
    table = pd.DataFrame({"subject": [f"s{i}" for i in range(300)], "split": "test", "labelled": 1})
    table.to_csv(tmp_path / "split/split.csv", index=False)
    networks = tuple(task("source", told_apart=(DEGRADED,), fold=fold, folds=2) for fold in (0, 1))
    for fold, stage in enumerate(networks):
        torch.manual_seed(fold)
        network = TaskNetwork("source", 2, TaskConfig(backbone="compact", width=2)).eval()
        (tmp_path / f"network {fold}").mkdir()
        save_task(network, tmp_path / f"network {fold}")
        made[stage] = tmp_path / f"network {fold}"

    def of(name: str, count: int | None = None, split: Split | None = None) -> Context[Extract]:
        stage = Extract("source", None, "", DATA, networks, (8, SIDE), count, split, who=name)
        return context(tmp_path / name, stage, made)

    return of


def written(context: Context[Extract]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in context.output.iterdir()}


def test_features_are_those_of_the_whole_set_at_once(
    scored: Scored,
) -> None:
    images = torch.from_numpy(noise(300)[:, None].astype(np.float32) / np.float32(255))
    for reference in (False, True):
        run = scored(f"reference {reference}", 290, SET.split if reference else None)
        features.run(run)
        arrays = load_arrays(run.output)
        assert set(arrays) == {f"{a}/{b}" for a in ("rows", 8, SIDE) for b in (0, 1)}
        for fold in (0, 1):
            rows = np.arange(290) if reference else np.arange(290)[fold::2]
            assert np.array_equal(arrays[f"rows/{fold}"], rows)
            network = load_task(run.folder(run.stage.networks[fold]))
            for resolution in (8, SIDE):
                expected = extract(network, images[rows], resolution)
                assert np.array_equal(arrays[f"{resolution}/{fold}"], expected)
    facts = json.loads((run.output / "extractor.json").read_text())
    assert [f["input"] for f in facts] == [None, None]
    assert facts[0]["fingerprint"] != facts[1]["fingerprint"]


def test_a_kill_costs_one_chunk_of_features(
    scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = scored("undisturbed")
    features.run(undisturbed)

    disturbed = scored("killed")
    with pytest.raises(Killed):
        features.run(replace(disturbed, progress=killed_at(4)))
    assert not (disturbed.output / "arrays.safetensors").exists()
    asked: list[int] = []

    def counted(network: Any, images: torch.Tensor, resolution: int) -> np.ndarray:
        asked.append(len(images))
        return extract(network, images, resolution)

    monkeypatch.setattr(features, "extract", counted)
    seen: list[tuple[int, int]] = []
    features.run(replace(disturbed, progress=lambda done, total, _: seen.append((done, total))))
    assert seen == [(5, 6), (6, 6)]
    assert asked == [64, 64, 22, 22]
    assert written(disturbed) == written(undisturbed)


def test_processes_share_the_chunks(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, shared = scored("alone"), scored("shared")
    assert features.run(alone) == {"processes": 1}
    monkeypatch.setenv("UMBENCH_PROCESSES", "2")
    seen: list[int] = []
    found = features.run(replace(shared, progress=lambda done, *_: seen.append(done)))
    assert found == {"processes": 2}
    assert len(seen) == 3  # of six chunks; the first process reports its own
    assert written(shared) == written(alone)


def test_a_split_of_the_set_is_looked_at(tmp_path: Path, real: Made) -> None:
    stage = Extract("sex", None, "", DATA, (), (8,), count=5, split=SET.split, who="")
    images = features.chosen_images(context(tmp_path / "f", stage, real))
    assert numbers(images, np.arange(5)) == set(range(18, 23))
    assert len(images) == 5
