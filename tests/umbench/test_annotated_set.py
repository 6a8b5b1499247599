"""Annotated sets: what is written can be read; every broken rule is one line with the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from umbench.data.annotated_set import AnnotatedSet, content_fingerprint, read_set, write_set
from umbench.data.phantom import make_phantom_set
from umbench.errors import InputError


@pytest.fixture(scope="module")
def phantom() -> AnnotatedSet:
    return make_phantom_set(4, 64, seed=2)


@pytest.fixture
def folder(phantom: AnnotatedSet, tmp_path: Path) -> Path:
    write_set(tmp_path / "set", phantom)
    return tmp_path / "set"


def test_what_is_written_is_read(phantom: AnnotatedSet, folder: Path) -> None:
    back = read_set(folder)
    assert back.info == phantom.info
    assert (back.images == phantom.images).all()
    assert phantom.masks is not None
    assert (back.masks == phantom.masks).all()
    assert list(back.table["age"]) == list(phantom.table["age"])


def test_the_same_set_gives_the_same_bytes(phantom: AnnotatedSet, tmp_path: Path) -> None:
    write_set(tmp_path / "a", phantom)
    write_set(tmp_path / "b", phantom)
    assert content_fingerprint(tmp_path / "a") == content_fingerprint(tmp_path / "b")


def test_it_does_not_write_over_a_set(phantom: AnnotatedSet, folder: Path) -> None:
    with pytest.raises(InputError, match="not empty"):
        write_set(folder, phantom)


def _edit_csv(folder: Path, old: str, new: str) -> None:
    path = folder / "metadata.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _truncate(folder: Path) -> None:
    path = folder / "images/00001.png"
    path.write_bytes(path.read_bytes()[:200])


def _sixteen(folder: Path) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(folder / "images/00001.png")


def _small(folder: Path) -> None:
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "images/00001.png")


def _colour(folder: Path) -> None:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "images/00001.png")


def _strange_class(folder: Path) -> None:
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(folder / "masks/00001.png")


def _two_splits(folder: Path) -> None:
    _edit_csv(folder, "P00001,,", "P00000,train,")


def _set_json(key: str, value: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "set.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return edit


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_truncate, "images/00001.png: cannot be decoded"),
        (_sixteen, "images/00001.png: has 16 bits per pixel, but 8 were declared"),
        (_small, "images/00001.png: 32 x 32 px, but the set's images are 64 x 64"),
        (_colour, "images/00001.png: mode RGB"),
        (_strange_class, "masks/00001.png: class 9 is not declared"),
        (_two_splits, "subject P00000: in two splits"),
        (lambda f: _edit_csv(f, "images/00001.png", "../x.png"), "points out of the set"),
        (lambda f: _edit_csv(f, "images/00001.png", "/etc/x.png"), "points out of the set"),
        (lambda f: _edit_csv(f, "images/00001.png", "images/00000.png"), "listed twice"),
        (lambda f: _edit_csv(f, "P00001,,", "P00001,tset,"), "split 'tset'"),
        (lambda f: _edit_csv(f, "P00001", ""), "subject is empty"),
        (lambda f: (f / "images/00001.png").unlink(), "images/00001.png: no such file"),
        (lambda f: (f / "set.json").unlink(), "set.json: no such file"),
        (lambda f: (f / "set.json").write_text("{"), "set.json: no valid JSON"),
        (_set_json("colour", 1), "unknown key colour"),
        (_set_json("schema", 7), "schema is 7"),
        (
            _set_json("encoding", {"bits": 8, "window": [float("nan"), 1], "unit": "HU"}),
            "key encoding.window",
        ),
    ],
)
def test_a_broken_rule_is_one_line(
    folder: Path, damage: Callable[[Path], object], expected: str
) -> None:
    damage(folder)
    with pytest.raises(InputError) as caught:
        read_set(folder)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_link_out_of_the_set_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    (folder / "images/00001.png").rename(outside)
    (folder / "images/00001.png").symlink_to(outside)
    with pytest.raises(InputError, match="points out of the set"):
        read_set(folder)


def test_text_for_an_age_is_refused(folder: Path) -> None:
    path = folder / "metadata.csv"
    lines = path.read_text().splitlines()
    column = lines[0].split(",").index("age")
    cells = lines[1].split(",")
    cells[column] = "nan"
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]))
    with pytest.raises(InputError, match="age 'nan'"):
        read_set(folder)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder is empty"):
        read_set(tmp_path)
