"""Importing slice pictures: what is declared is done, what is not declared is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from umbench.data.annotated_set import read_set, write_set
from umbench.data.importer import ImportSpec, Source, import_pictures, load_spec
from umbench.errors import InputError

SPEC = ImportSpec(
    name="s",
    sources=[Source(images="i", masks="m", split="train")],
    transform="transpose",
    classes={0: "background", 1: "lesion"},
    class_map={"#000000": 0, "#ff0000": 1},
    size=32,
)
REAL = os.environ.get("UMBENCH_TEST_DATA")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "i").mkdir()
    (tmp_path / "m").mkdir()
    image = np.zeros((40, 60), np.uint8)
    image[:10, :] = 200
    mask = np.zeros((40, 60, 3), np.uint8)
    mask[:10, :, 0] = 255
    Image.fromarray(image).save(tmp_path / "i/7.png")
    Image.fromarray(mask).save(tmp_path / "m/7.png")
    return tmp_path


def test_transform_padding_and_classes(folder: Path, tmp_path: Path) -> None:
    made = import_pictures(folder, SPEC)
    assert made.images.shape == (1, 32, 32)
    assert made.masks is not None
    # the bright band at the top is at the left after transposing; 60 x 60 with 10 px of padding
    assert made.masks[0].sum(axis=0).nonzero()[0].tolist() == list(range(5, 11))
    assert made.images[0][:, 8].min() > 150
    assert made.images[0][:, 20].max() == 0
    write_set(tmp_path / "set", made)
    assert read_set(tmp_path / "set").info.provenance["transform"] == "transpose"


def test_an_undeclared_colour_is_named(folder: Path) -> None:
    Image.fromarray(np.full((40, 60, 3), 9, np.uint8)).save(folder / "m/7.png")
    with pytest.raises(InputError, match=r"7.png: colour #090909 has no class"):
        import_pictures(folder, SPEC)


def test_a_missing_mask_a_coloured_image_and_an_empty_folder_are_named(folder: Path) -> None:
    (folder / "m/7.png").unlink()
    with pytest.raises(InputError, match="no mask called 7"):
        import_pictures(folder, SPEC)
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[..., 1] = 200
    Image.fromarray(rgb).save(folder / "i/7.png")
    with pytest.raises(InputError, match="coloured"):
        import_pictures(folder, SPEC)
    (folder / "i/7.png").unlink()
    with pytest.raises(InputError, match="holds no pictures"):
        import_pictures(folder, SPEC)


def test_mistakes_in_a_spec_are_named(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("name: x\ntransfrom: identity\n")
    with pytest.raises(InputError, match="transfrom"):
        load_spec(str(path))
    with pytest.raises(InputError, match="presets: covid-semiseg"):
        load_spec("nowhere")


@pytest.mark.skipif(REAL is None, reason="UMBENCH_TEST_DATA is not set")
def test_real_slices_become_a_valid_set_with_the_front_up(tmp_path: Path) -> None:
    made = import_pictures(Path(str(REAL)) / "covid-semiseg", load_spec("covid-semiseg"))
    write_set(tmp_path / "set", made)
    back = read_set(tmp_path / "set")
    assert len(back) == 73
    assert set(np.unique(back.masks)) == {0, 1, 2}
    assert back.masks is not None
    # consolidation is denser than ground glass, and lies towards the back, which is down
    grey, rows = back.unit(), np.arange(128)[None, :, None]
    assert grey[back.masks == 2].mean() > grey[back.masks == 1].mean() + 0.1
    assert (np.broadcast_to(rows, grey.shape)[back.masks == 2]).mean() > 64
