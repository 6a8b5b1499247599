"""Stages write straight to files: a kill loses one chunk, and the bytes are those of one go."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from umbench_baselines import entries
from umbench_baselines.contracts import Budget, Perceptual

from umbench.data import rows
from umbench.data.annotated_set import read_set, write_set
from umbench.data.phantom import make_phantom_set
from umbench.errors import InputError
from umbench.pipeline import Context, Stage
from umbench.stages import artifacts, superpixels
from umbench.stages.artifacts import load_arrays, load_set
from umbench.stages.values import (
    Control,
    Folder,
    Guidance,
    Phantom,
    Real,
    Sample,
    Split,
    Superpixels,
    Train,
)

SIZE, SUBJECTS = 64, 6


class Killed(BaseException):
    """Nothing of a stage catches this."""


Progress = Callable[[int, int, str], None]
Made = dict[Stage, Path]
"""Stages that were run, and where their entries lie."""


def run(
    stage: Stage,
    output: Path,
    made: Made | None = None,
    progress: Progress = lambda done, total, text: None,
) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    scratch = output.with_name(f"{output.name} scratch")
    module = importlib.import_module(stage.RUN)
    module.run(Context(stage, made or {}, output, scratch, progress))
    return output


def killed_after(chunks: int) -> Progress:
    seen: list[int] = []

    def progress(done: int, total: int, text: str) -> None:
        seen.append(done)
        if len(seen) == chunks:
            raise Killed

    return progress


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK_BYTES", 2 * SIZE * SIZE)


PHANTOM = Phantom(SUBJECTS, SIZE, seed=2, montages=1)
REAL = Real(PHANTOM, Split(PHANTOM, None, None, 0))
SUPERPIXELS = Superpixels(
    PHANTOM, "slic", 40, 10.0, module="umbench_baselines.guidance.superpixels"
)
GUIDANCE = Guidance(PHANTOM, SUPERPIXELS, 50)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(PHANTOM, tmp_path_factory.mktemp("stages") / "data")


@pytest.fixture(scope="module")
def split(data: Path) -> Path:
    output = data.with_name("split")
    output.mkdir()
    names = ["train", "train", "validation", "validation", "test", "test"]
    table = pd.DataFrame(
        {"row": range(6), "subject": load_set(data).table["subject"], "split": names, "labelled": 1}
    )
    table.to_csv(output / "split.csv", index=False)
    return output


@pytest.fixture(scope="module")
def segments(data: Path) -> Path:
    return run(SUPERPIXELS, data.with_name("superpixels"), {PHANTOM: data})


@pytest.fixture(scope="module")
def guided(data: Path, segments: Path) -> Path:
    return run(GUIDANCE, data.with_name("guidance"), {PHANTOM: data, SUPERPIXELS: segments})


def same_files(a: Path, b: Path) -> bool:
    names = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in (a, b)]
    return names[0] == names[1] and all(
        (a / name).read_bytes() == (b / name).read_bytes() for name in names[0]
    )


def test_a_phantom_in_the_store_is_the_phantom(data: Path) -> None:
    stored, drawn = load_set(data), make_phantom_set(SUBJECTS, SIZE, seed=2)
    assert isinstance(stored.images, np.memmap)
    assert (stored.images == drawn.images).all()
    assert (np.asarray(stored.masks) == drawn.masks).all()
    assert stored.info == drawn.info
    assert list(stored.table["age"]) == list(drawn.table["age"])


def test_a_killed_phantom_goes_on(data: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(PHANTOM, tmp_path / "again", progress=killed_after(2))
    drawn: list[int] = []
    run(PHANTOM, tmp_path / "again", progress=lambda done, *_: drawn.append(done))
    assert len(drawn) < SUBJECTS - 2
    assert same_files(data, tmp_path / "again")


def test_montages_of_one_subject_may_lie_in_two_chunks(tmp_path: Path) -> None:
    stored = load_set(run(Phantom(3, SIZE, seed=4, montages=3), tmp_path / "p"))
    assert (stored.images == make_phantom_set(3, SIZE, 4, montages=3).images).all()


def test_killed_superpixels_go_on(data: Path, segments: Path, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(SUPERPIXELS, tmp_path / "s", {PHANTOM: data}, killed_after(3))
    seen: list[int] = []
    run(SUPERPIXELS, tmp_path / "s", {PHANTOM: data}, lambda d, *_: seen.append(d))
    assert seen[0] > 3
    assert same_files(segments, tmp_path / "s")


def test_guidance_is_grey_in_steps_of_t_and_follows_the_image(data: Path, guided: Path) -> None:
    made, real = load_arrays(guided)["guidance"], load_set(data).images
    assert made.dtype == np.uint8
    assert set(np.unique(made)) <= {0, 50, 100, 150, 200, 250}
    flat = [array.reshape(SUBJECTS, -1) for array in (made, real)]
    alike = np.corrcoef(*flat)[:SUBJECTS, SUBJECTS:]
    assert alike.argmax(1).tolist() == list(range(SUBJECTS)), "guidance of another image"
    assert alike.diagonal().min() > 0.8


def test_without_superpixels_the_image_itself_is_clustered(data: Path, tmp_path: Path) -> None:
    whole = Guidance(PHANTOM, None, 10)
    made = load_arrays(run(whole, tmp_path / "g", {PHANTOM: data}))["guidance"]
    assert (made == load_set(data).images // 10 * 10).all()


def test_too_many_superpixels_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superpixels, "MOST", 10)
    with pytest.raises(InputError, match=r"guidance\.count: slic made \d+ superpixels"):
        run(SUPERPIXELS, tmp_path / "s", {PHANTOM: data})


def test_a_folder_is_decoded_once_and_kept(data: Path, tmp_path: Path) -> None:
    from umbench.data.annotated_set import content_fingerprint

    source = tmp_path / "set"
    write_set(source, make_phantom_set(SUBJECTS, SIZE, seed=2))
    kept = load_set(run(Folder(content_fingerprint(source), str(source)), tmp_path / "out"))
    (source / "images/00000.png").unlink()
    assert (kept.images == load_set(data).images).all()
    assert not list((tmp_path / "out").rglob("*.png"))


UM2I = entries.get("um2i")
OPTIONS = UM2I.Options()
TRAIN = Train(
    UM2I.parts(OPTIONS, Perceptual())[0], REAL, GUIDANCE, (), None, Budget(untrained=True), 0, "no"
)
SAMPLE = Sample("um2i", "", "mine", OPTIONS, (TRAIN,), REAL, GUIDANCE, count=4, seed=0)


@pytest.fixture(scope="module")
def made(data: Path, split: Path, segments: Path, guided: Path) -> Made:
    """What sampling takes in: a set with its split and guidance, and an untrained translator."""
    made = {PHANTOM: data, REAL.split: split, SUPERPIXELS: segments, GUIDANCE: guided}
    return {**made, TRAIN: run(TRAIN, data.with_name("g2-guidance"), made)}


def test_killed_sampling_goes_on(made: Made, tmp_path: Path) -> None:
    whole = run(SAMPLE, tmp_path / "a", made)
    with pytest.raises(Killed):
        run(SAMPLE, tmp_path / "b", made, killed_after(2))
    drawn: list[int] = []
    run(SAMPLE, tmp_path / "b", made, lambda done, *_: drawn.append(done))
    assert drawn == [3, 4]
    assert same_files(whole, tmp_path / "b")


def test_samples_are_a_set_that_anybody_can_read(made: Made, tmp_path: Path) -> None:
    drawn = run(SAMPLE, tmp_path / "a", made)
    read, mapped = read_set(drawn / "set"), load_set(drawn)
    assert (read.images == mapped.images).all()
    assert (np.asarray(read.masks) == mapped.masks).all()
    assert Image.open(drawn / "set/images/00003.png").size == (SIZE, SIZE)
    # held-out conditions come first
    assert load_arrays(drawn)["rows"].tolist() == [2, 3, 0, 1]
    conditions = artifacts.map_arrays(drawn / artifacts.PIXELS)["conditions"]
    assert (conditions == load_arrays(made[GUIDANCE])["guidance"][[2, 3, 0, 1]]).all()


@pytest.mark.parametrize("name", ["real", "degraded"])
def test_controls_are_images_of_their_split(
    name: Literal["real", "degraded"], data: Path, split: Path, tmp_path: Path
) -> None:
    control = Control(name, REAL, count=2, seed=0)
    made = run(control, tmp_path / name, {PHANTOM: data, REAL.split: split})
    found, real = load_set(made).images, load_set(data).images
    if name == "real":
        assert (found == real[2:4]).all()
    else:
        error = np.abs(found.astype(float) - real[4:6]).mean((1, 2))
        assert (error > 10).all()
        assert (np.asarray(load_set(made).masks) == np.asarray(load_set(data).masks)[4:6]).all()
