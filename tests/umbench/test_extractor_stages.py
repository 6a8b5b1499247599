"""Stages `extractor` and `features`: who sees which image, and what a kill may cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from umbench_baselines.training import TrainingRun
from umbench_metrics.degrade import degrade
from umbench_metrics.extractors.task import TaskConfig, TaskNetwork, load_task, save_task
from umbench_metrics.features import extract
from umbench_metrics.images import Images

from umbench.data.annotated_set import Encoding, SetInfo
from umbench.data.rows import write_arrays
from umbench.errors import NotMeasuredError
from umbench.pipeline import Context, Stage
from umbench.stages import extractor, features
from umbench.stages.artifacts import PIXELS, load_arrays, save_tables

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


@pytest.fixture
def real(tmp_path: Path) -> dict[str, Path]:
    """Real images 0 .. 24 and their split."""
    split = [name for name, count in REAL.items() for _ in range(count)]
    (tmp_path / "split").mkdir()
    pd.DataFrame(
        {"subject": [f"s{i}" for i in range(len(split))], "split": split, "labelled": 1}
    ).to_csv(tmp_path / "split/split.csv", index=False)
    return {"data": stored(tmp_path / "data", numbered(0, 25)), "split": tmp_path / "split"}


def context(folder: Path, params: Mapping[str, Any], inputs: Mapping[str, Path]) -> Context:
    (folder / "output").mkdir(parents=True)
    stage = Stage("x", "x", params, {role: role for role in inputs})
    return Context(stage, inputs, folder / "output", folder / "scratch", lambda *_: None)


class Killed(Exception):
    pass


def killed_at(number: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, text: str) -> None:
        if done >= number:
            raise Killed

    return progress


def values(images: Images, rows: np.ndarray) -> set[int]:
    return set((images.batch(rows)[:, 0, 0, 0] * 255).round().int().tolist())


@pytest.mark.parametrize("fold", [0, 1])
def test_a_source_network_never_sees_what_it_scores(
    tmp_path: Path, real: dict[str, Path], fold: int
) -> None:
    inputs = {
        **real,
        "samples a|": stored(tmp_path / "a", numbered(100, 10)),
        "samples untrained|a": stored(tmp_path / "u", numbered(150, 5)),
        "samples untrained|b": stored(tmp_path / "v", numbered(180, 4)),
    }
    params = {"task": "source", "fold": fold, "sources": ["a", "untrained", "degraded"]}
    known, held_out, classes, seen = extractor.examples(params, inputs)
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
        assert [values(images, r) for r in rows[:3]] == [reals, *sources]
    scored = features.fold_rows(10, 2, reference=False)[fold]
    assert {100 + row for row in scored} == inside[0]


def test_damaged_train_images_are_a_source(tmp_path: Path, real: dict[str, Path]) -> None:
    params = {"task": "source", "fold": 0, "sources": ["degraded"]}
    (images, targets), _, _, _ = extractor.examples(params, real)
    train = torch.from_numpy(numbered(0, 12)[:, None] / 255).float()
    damaged = images.batch(np.flatnonzero(targets == 1))
    torch.testing.assert_close(damaged, degrade(train, seed=1))


def sex(folder: Path, real: dict[str, Path], progress: Any = lambda *_: None) -> Context:
    params = {"task": "sex", "preset": "quick", "scale": 0.05, "seed": 4, "precision": "no"}
    return replace(context(folder, params, real), progress=progress)


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, real: dict[str, Path], monkeypatch: pytest.MonkeyPatch
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


def test_one_class_is_not_enough(tmp_path: Path, real: dict[str, Path]) -> None:
    params = {"task": "age", "preset": "quick", "scale": 1.0, "seed": 0, "precision": "no"}
    with pytest.raises(NotMeasuredError, match=r"extractor age: .* fewer than two classes"):
        extractor.run(context(tmp_path / "age", params, real))


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Context]:
    """Makes contexts in which 300 images are seen by two untrained networks, 150 by each."""
    inputs = {"images": stored(tmp_path / "images", noise(300))}
    for fold in (0, 1):
        torch.manual_seed(fold)
        network = TaskNetwork("source", 2, TaskConfig(backbone="compact", width=2)).eval()
        (tmp_path / f"network {fold}").mkdir()
        save_task(network, tmp_path / f"network {fold}")
        inputs[f"network {fold}"] = tmp_path / f"network {fold}"

    def made(name: str, **params: Any) -> Context:
        usual = {
            "extractor": "source", "input": None, "resolutions": [8, SIDE], "count": None,
            "reference": False, "split": None,
        }  # fmt: skip
        return context(tmp_path / name, {**usual, **params}, inputs)

    return made


def written(context: Context) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in context.output.iterdir()}


def test_features_are_those_of_the_whole_set_at_once(scored: Callable[..., Context]) -> None:
    images = torch.from_numpy(noise(300)[:, None].astype(np.float32) / np.float32(255))
    for reference in (False, True):
        run = scored(f"reference {reference}", reference=reference, count=290)
        features.run(run)
        arrays = load_arrays(run.output)
        assert set(arrays) == {f"{a}/{b}" for a in ("rows", 8, SIDE) for b in (0, 1)}
        for fold in (0, 1):
            rows = np.arange(290) if reference else np.arange(290)[fold::2]
            assert np.array_equal(arrays[f"rows/{fold}"], rows)
            network = load_task(run.inputs[f"network {fold}"])
            for resolution in (8, SIDE):
                expected = extract(network, images[rows], resolution)
                assert np.array_equal(arrays[f"{resolution}/{fold}"], expected)
    facts = json.loads((run.output / "extractor.json").read_text())
    assert [f["input"] for f in facts] == [None, None]
    assert facts[0]["fingerprint"] != facts[1]["fingerprint"]


def test_a_kill_costs_one_chunk_of_features(
    scored: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
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


def test_processes_share_the_chunks(
    scored: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared = scored("alone"), scored("shared")
    assert features.run(alone) == {"processes": 1}
    monkeypatch.setenv("UMBENCH_PROCESSES", "2")
    seen: list[int] = []
    found = features.run(replace(shared, progress=lambda done, *_: seen.append(done)))
    assert found == {"processes": 2}
    assert len(seen) == 3  # of six chunks; the first process reports its own
    assert written(shared) == written(alone)


def test_a_split_of_the_set_is_looked_at(tmp_path: Path, real: dict[str, Path]) -> None:
    params = {"split": "test", "count": 5}
    images = features.chosen_images(params, {"images": real["data"], "split": real["split"]})
    assert values(images, np.arange(5)) == set(range(18, 23))
    assert len(images) == 5
