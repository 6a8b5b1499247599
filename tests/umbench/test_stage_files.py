"""Stages write straight to files: a kill loses one chunk, and the bytes are those of one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from umbench.data import rows
from umbench.data.annotated_set import read_set, write_set
from umbench.data.phantom import make_phantom_set
from umbench.errors import InputError
from umbench.pipeline import Context, Stage
from umbench.stages import artifacts, control, folder, guidance, phantom, sample, superpixels
from umbench.stages.artifacts import load_arrays, load_set

SIZE, SUBJECTS = 64, 6


class Killed(BaseException):
    """Nothing of a stage catches this."""


def run(
    module: ModuleType,
    output: Path,
    inputs: dict[str, Path] | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
    **params: object,
) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    stage = Stage("stage", "kind", params)
    scratch = output.with_name(f"{output.name} scratch")
    module.run(Context(stage, inputs or {}, output, scratch, progress))
    return output


def killed_after(chunks: int) -> Callable[[int, int, str], None]:
    seen: list[int] = []

    def progress(done: int, total: int, text: str) -> None:
        seen.append(done)
        if len(seen) == chunks:
            raise Killed

    return progress


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK_BYTES", 2 * SIZE * SIZE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stages") / "data"
    return run(phantom, output, subjects=SUBJECTS, size=SIZE, seed=2, montages=1)


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
    output = data.with_name("superpixels")
    return run(superpixels, output, {"data": data}, algorithm="slic", count=40, compactness=10.0)


@pytest.fixture(scope="module")
def guided(data: Path, segments: Path) -> Path:
    output = data.with_name("guidance")
    return run(guidance, output, {"data": data, "superpixels": segments}, t=50)


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
    params = {"subjects": SUBJECTS, "size": SIZE, "seed": 2, "montages": 1}
    with pytest.raises(Killed):
        run(phantom, tmp_path / "again", progress=killed_after(2), **params)
    drawn: list[int] = []
    run(phantom, tmp_path / "again", progress=lambda done, *_: drawn.append(done), **params)
    assert len(drawn) < SUBJECTS - 2
    assert same_files(data, tmp_path / "again")


def test_montages_of_one_subject_may_lie_in_two_chunks(tmp_path: Path) -> None:
    params = {"subjects": 3, "size": SIZE, "seed": 4, "montages": 3}
    stored = load_set(run(phantom, tmp_path / "p", **params))
    assert (stored.images == make_phantom_set(3, SIZE, 4, montages=3).images).all()


def test_killed_superpixels_go_on(data: Path, segments: Path, tmp_path: Path) -> None:
    params = {"algorithm": "slic", "count": 40, "compactness": 10.0}
    with pytest.raises(Killed):
        run(superpixels, tmp_path / "s", {"data": data}, killed_after(3), **params)
    seen: list[int] = []
    run(superpixels, tmp_path / "s", {"data": data}, lambda d, *_: seen.append(d), **params)
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
    made = load_arrays(run(guidance, tmp_path / "g", {"data": data}, t=10))["guidance"]
    assert (made == load_set(data).images // 10 * 10).all()


def test_too_many_superpixels_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superpixels, "MOST", 10)
    with pytest.raises(InputError, match=r"guidance\.count: slic made \d+ superpixels"):
        run(
            superpixels, tmp_path / "s", {"data": data}, algorithm="slic", count=40,
            compactness=10.0,
        )  # fmt: skip


def test_a_folder_is_decoded_once_and_kept(data: Path, tmp_path: Path) -> None:
    from umbench.data.annotated_set import content_fingerprint

    source = tmp_path / "set"
    write_set(source, make_phantom_set(SUBJECTS, SIZE, seed=2))
    stage = Stage(
        "data", "folder", {"fingerprint": content_fingerprint(source)}, {}, {"path": str(source)}
    )
    (tmp_path / "out").mkdir()
    folder.run(Context(stage, {}, tmp_path / "out", tmp_path / "scratch", lambda *_: None))
    kept = load_set(tmp_path / "out")
    (source / "images/00000.png").unlink()
    assert (kept.images == load_set(data).images).all()
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.fixture(scope="module")
def network(data: Path) -> Path:
    """An untrained translator, as the stage `train` leaves it."""
    from umbench_baselines.translation import Translator, preset

    output = data.with_name("g2-guidance")
    output.mkdir()
    torch.manual_seed(0)
    config = preset("quick", size=SIZE, count=2, untrained=True)
    facts = {"part": "g2-guidance", "classes": 3, "conditions": 1}
    from dataclasses import asdict

    artifacts.save_model(output, Translator(1, 3, config), {**facts, "config": asdict(config)})
    return output


def draw(
    network: Path, data: Path, split: Path, guided: Path, output: Path,
    progress: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Path:  # fmt: skip
    inputs = {"data": data, "split": split, "guidance": guided, "g2-guidance": network}
    return run(
        sample, output, inputs, progress, entry="um2i", name="mine", count=4, seed=0, psi=1.0, t=50
    )


def test_killed_sampling_goes_on(
    network: Path, data: Path, split: Path, guided: Path, tmp_path: Path
) -> None:
    whole = draw(network, data, split, guided, tmp_path / "a")
    with pytest.raises(Killed):
        draw(network, data, split, guided, tmp_path / "b", killed_after(2))
    drawn: list[int] = []
    draw(network, data, split, guided, tmp_path / "b", lambda done, *_: drawn.append(done))
    assert drawn == [3, 4]
    assert same_files(whole, tmp_path / "b")


def test_samples_are_a_set_that_anybody_can_read(
    network: Path, data: Path, split: Path, guided: Path, tmp_path: Path
) -> None:
    made = draw(network, data, split, guided, tmp_path / "a")
    read, mapped = read_set(made / "set"), load_set(made)
    assert (read.images == mapped.images).all()
    assert (np.asarray(read.masks) == mapped.masks).all()
    assert Image.open(made / "set/images/00003.png").size == (SIZE, SIZE)
    # held-out conditions come first
    assert load_arrays(made)["rows"].tolist() == [2, 3, 0, 1]
    conditions = artifacts.map_arrays(made / artifacts.PIXELS)["conditions"]
    assert (conditions == load_arrays(guided)["guidance"][[2, 3, 0, 1]]).all()


@pytest.mark.parametrize("name", ["real", "degraded"])
def test_controls_are_images_of_their_split(
    name: str, data: Path, split: Path, tmp_path: Path
) -> None:
    made = run(
        control, tmp_path / name, {"data": data, "split": split}, control=name, count=2, seed=0
    )
    found, real = load_set(made).images, load_set(data).images
    if name == "real":
        assert (found == real[2:4]).all()
    else:
        error = np.abs(found.astype(float) - real[4:6]).mean((1, 2))
        assert (error > 10).all()
        assert (np.asarray(load_set(made).masks) == np.asarray(load_set(data).masks)[4:6]).all()
