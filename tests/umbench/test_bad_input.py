"""Bad input through the command line: one clear line, exit status 2, and nothing is lost."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from umbench_metrics.extractors import inception_v3

from umbench.cli.main import main
from umbench.cli.plan import plan
from umbench.data.annotated_set import content_fingerprint, write_set
from umbench.data.phantom import make_phantom_set
from umbench.suite import usable

SUITE = """\
name: tiny
data: {phantom: {subjects: 20, size: 64, seed: 3}}
splits: {train: 10, validation: 5, test: 5}
guidance: {superpixels: slic, count: 64, t: 50}
labelled: 4
generators: [m2i]
training: {preset: quick, seeds: [0], scale: 0.02}
samples: 5
panel: {extractors: [efficientnet-lite0], resolutions: [32]}
metrics: [mm-fid]
controls: [real, degraded]
"""
FOLDER_SUITE = (
    SUITE.replace("{phantom: {subjects: 20, size: 64, seed: 3}}", '{folder: "${data}"}')
    .replace("{train: 10, validation: 5, test: 5}", "{train: 4, validation: 2, test: 2}")
    .replace("samples: 5", "samples: 4")
)
SPEC = """\
name: s
sources:
  - {images: i, masks: m}
classes: {0: background, 1: lesion}
class_map: {"#000000": 0, "#ff0000": 1}
size: 32
"""
FULL = "the disk is full; free some space and run the same command again"

Umbench = Callable[..., list[str]]
Change = Callable[[Path], Any]


@pytest.fixture
def umbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Umbench:
    """Run the command in an empty folder; what it says on stderr, once the status is right."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UMBENCH_STORE", raising=False)

    def run(*arguments: object, status: int = 2) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["umbench", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            found: object = 0
        except SystemExit as end:
            found = end.code
        said = capsys.readouterr().err.splitlines()
        assert found == status, said
        return said

    return run


def check(said: list[str], expected: str) -> None:
    """One line, as expected; "..." stands for words that are not pinned."""
    pattern = ".*".join(map(re.escape, f"Error: {expected}".split("...")))
    assert len(said) == 1, said
    assert re.fullmatch(pattern, said[0]), said


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "set"
    write_set(folder, make_phantom_set(8, 64, seed=1))
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# What is named on the command line --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("run", "Missing argument 'SUITE'...; see umbench run --help"),
        ("run quick --nonsense", "No such option...--nonsense...; see umbench run --help"),
        ("data phantom --size x --out p", "Invalid value for '--size'...phantom --help"),
        ("data import . --out p", "name one of --spec and --preset; see umbench data import..."),
        ("data import . --out p --preset covid", "spec covid: no such file or preset; presets:..."),
        ("run quik", "suite quik: no such file or shipped suite; did you mean 'quick'?"),
        ("run .", "suite .: no such file or shipped suite; known: ablation-t, covid-slices, ..."),
        ("run covid-slices", "...this suite reads its data from --data; name a folder"),
        ("run covid-slices --data no", "no: no such folder; name one that holds a set"),
        ("plan quick --data .", "--data .: ...reads no ${data}; leave --data out, or name ..."),
        ("data inspect no", "no: no such folder; name one that holds a set"),
    ],
)
def test_arguments(umbench: Umbench, arguments: str, expected: str) -> None:
    check(umbench(*arguments.split()), expected)


@pytest.mark.parametrize("command", ["inspect", "run"])
def test_an_empty_folder(umbench: Umbench, command: str) -> None:
    Path("set").mkdir()
    Path("suite.yaml").write_text(FOLDER_SUITE)
    arguments = {"inspect": "data inspect set", "run": "run suite.yaml --data set"}[command]
    expected = "set: the folder is empty; a set has set.json and metadata.csv (`umbench data ..."
    check(umbench(*arguments.split()), expected)


def test_no_command_shows_the_help(umbench: Umbench) -> None:
    assert umbench()[0].startswith("Usage: umbench")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("guidance.t", "write it as key=value, as in guidance.t=10"),
        ("=3", "write it as key=value, as in guidance.t=10"),
        ("guidance..t=3", "write it as key=value, as in guidance.t=10"),
        ("guidance.t=[", "...; mend the YAML"),
        ("generators=&a [*a]", "nested without end; write aliases out"),
        ("guidance.t=300", "key guidance.t: must be less than or equal to 255, not 300"),
        ("guidance.t=", "key guidance.t: must be a valid integer, not None"),
        ("guidanc.t=3", "unknown key guidanc; did you mean 'guidance'?"),
        ("samples.x=1", "samples holds no keys, so samples.x cannot be set; correct it"),
        ("include=paper.yaml", "only a file can include another; name that suite instead"),
        ("guidance.superpixels=slick", "key guidance.superpixels: no 'slick'; did you mean..."),
        ("generators=[m2j]", "key generators.0: no 'm2j'; did you mean 'm2i'?"),
        ("panel.extractors=[sexx]", "key panel.extractors.0: no 'sexx'; did you mean 'sex'?"),
        (
            "panel.resolutions=[8]",
            "key panel.resolutions.0: must be greater than or equal to 16...",
        ),
        ("training.seeds=[-1]", "key training.seeds.0: must be greater than or equal to 0, not -1"),
        ("training.seeds=[0, 0]", "key training.seeds.1: 0 is named twice; remove one"),
        ("data.phantom.size=100", "key data.phantom.size: must be a power of two..., not 100"),
        ("statistics.reference=x", "key statistics.reference: 'x' is none of the generators; ..."),
        ("statistics.test=wilcoxon", "unknown key statistics.test; ..."),
        ("training.perceptual=vgg16", "key training.perceptual: must be 'auto', 'vgg19' or ..."),
        (
            "panel.extractors=[{id: sex, input: native}]",
            "key panel.extractors.0.input: sex has no choice; remove it",
        ),
        (
            "panel.extractors=[inception-v3, {id: inception-v3, input: fixed}]",
            "key panel.extractors.1: inception-v3 is named twice; remove one",
        ),
        ("generators=[3]", "key generators.0: must be a mapping, not 3"),
        (
            "generators=[m2i, m2i]",
            "key generators.1: m2i is named twice; remove one, or call it otherwise with name",
        ),
        (
            "generators=[m2i, {id: um2i, name: m2i}]",
            "key generators.1: m2i is named twice; remove one, or call it otherwise with name",
        ),
        (
            "generators=[{id: m2i, heads: image}]",
            "key generators.0.heads: m2i has no such option; known: paired",
        ),
        (
            "generators=[{id: um2i, annotated: 4}]",
            "key generators.0.annotated: um2i has no such option; known: heads, paired, superv...",
        ),
        (
            "generators=[{id: v2m2i, max_size: 100}]",
            "key generators.0.max_size: must be a power of two..., not 100",
        ),
        (
            "generators=[{id: um2i, supervision: none}]",
            "key generators.0.supervision: must be 'semi' or 'supervised', not 'none'",
        ),
        (
            "generators=[{id: m2i, name: a/b}]",
            "key generators.0.name: must be letters, digits and . _ = , - since it names a fil...",
        ),
        (
            "generators=[{id: m2i, name: real}]",
            "key generators.0.name: is what a control or a picture is called; choose another n...",
        ),
    ],
)
def test_overrides(umbench: Umbench, override: str, expected: str) -> None:
    check(umbench("plan", "quick", "--set", override), f"--set {override}: {expected}")


# Suites -----------------------------------------------------------------------------------------


def change(old: str, new: str) -> str:
    assert old in SUITE
    return SUITE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SUITE + "sampels: 5", ":12:1: unknown key sampels; did you mean 'samples'?"),
        (change("samples", "sampels"), ":8:1: unknown key sampels; did you mean 'samples'?"),
        (change("superpixels", "superpixel"), ":4:12: unknown key guidance.superpixel; did you..."),
        (
            change("[m2i]", "[{id: datasetgan, anotated: 4}]"),
            ":6:31: key generators.0.anotated: datasetgan has no such option; did you mean ...",
        ),
        (
            change("degraded]", "degraded, copies, shuffled]"),
            ":10:1: key metrics: the controls copies, shuffled are arms ...",
        ),
        (SUITE + "samples: 6", ":12:1: duplicate key samples; remove one"),
        (change("t: 50", "t: 50, t: 60"), ":4:49: duplicate key t; remove one"),
        (change("samples: 5\n", ""), ": key samples is missing; add it"),
        (change(", test: 5", ""), ":3:1: key splits.test is missing; add it"),
        (
            change("samples: 5", "samples: many"),
            ":8:1: key samples: must be a valid integer, not...",
        ),
        (
            change("samples: 5", "samples: true"),
            ":8:1: key samples: must be a valid integer, not...",
        ),
        (
            change("train: 10", "train: ten"),
            ":3:10: key splits.train: must be a valid integer, ...",
        ),
        (
            change("{train: 10, validation: 5, test: 5}", "give"),
            ":3:1: key splits: must be a mapping or 'given', not 'give'",
        ),
        (
            change("t: 50", "t: 300"),
            ":4:42: key guidance.t: must be less than or equal to 255, ...",
        ),
        (change("[real,", "[reel,"), ":11:12: key controls.0: must be 'real', 'degraded', ..."),
        (
            change("[real, degraded]", "[real]"),
            ": key statistics.normalisation: anchored needs the controls real and degraded; add...",
        ),
        (change("0.02", ".nan"), ":7:39: key training.scale: must be a finite number, not NaN"),
        (change("t: 50", "t: .nan"), ":4:42: key guidance.t: must be a valid integer, not NaN"),
        (change("m2i", "m2j"), ":6:14: key generators.0: no 'm2j'; did you mean 'm2i'?"),
        (change("name: tiny", "name: a/../../b"), ":1:1: key name: must be letters, digits and..."),
        (SUITE + "matrix: {guidance.t: 3}", ":12:1: key matrix: must map dotted keys to lists ..."),
        (SUITE + "matrix: [1]", ":12:1: key matrix: must map dotted keys to lists of values..."),
        (
            SUITE + "matrix: {guidance.tt: [1]}",
            ":12:10: unknown key guidance.tt; did you mean 't'?",
        ),
        (SUITE + "matrix: {guidance.t: [1, 999]}", ":12:10: key guidance.t: must be less than..."),
        (
            SUITE + "matrix: {training.scale: [.nan]}",
            ":12:10: key training.scale: must be a fin...",
        ),
        (SUITE + "matrix: {samples.x: [1]}", ":12:10: samples holds no keys, so samples.x can..."),
        (
            SUITE + "matrix: {guidance.t: [10, 10]}",
            ": key matrix: two arms are called tiny/guidance.t=10; remove one",
        ),
        (SUITE + "a: [", ":12:5: ...; mend the YAML"),
        ("", ": must hold a mapping of keys to values; write it as key: value"),
        ("name: \udcff", ": byte 6 is no UTF-8; save it as UTF-8"),
        ("include: suite.yaml", ": key include: the file includes itself; break the circle"),
        ("include: no.yaml", ":1:1: key include: no file no.yaml; correct the name"),
    ],
)
def test_suites(umbench: Umbench, text: str, expected: str) -> None:
    Path("suite.yaml").write_bytes(text.encode(errors="surrogateescape"))
    check(umbench("plan", "suite.yaml"), f"suite.yaml{expected}")


def test_a_mistake_in_an_included_file_names_that_file(umbench: Umbench) -> None:
    Path("base.yaml").write_text(change("superpixels", "superpixel"))
    Path("suite.yaml").write_text("include: base.yaml\nname: x\n")
    expected = "base.yaml:4:12: unknown key guidance.superpixel; did you mean 'superpixels'?"
    check(umbench("plan", "suite.yaml"), expected)


def test_a_matrix_of_lists_makes_arms_with_plain_names(umbench: Umbench) -> None:
    Path("suite.yaml").write_text(SUITE + "matrix: {panel.resolutions: [[32], [32, 64]]}\n")
    assert umbench("plan", "suite.yaml", status=0) == []


# Sets -------------------------------------------------------------------------------------------


def csv(old: str, new: str) -> Change:
    return lambda folder: edit(folder / "metadata.csv", old, new)


def info(**values: object) -> Change:
    def run(folder: Path) -> None:
        path = folder / "set.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return run


def encoding(**values: object) -> Change:
    return info(encoding={"bits": 8, "window": [-1500, 100], "unit": "HU", **values})


def picture(name: str, *shape: int, dtype: type = np.uint8, value: int = 0) -> Change:
    pixels = np.full(shape, value, dtype)
    return lambda folder: Image.fromarray(pixels).save(folder / name)


def content(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def cut(name: str) -> Change:
    def run(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return run


def bomb(name: str, side: int) -> Change:
    """A small PNG whose header asks for side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    return content(name, b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))


def link(name: str) -> Change:
    """Move a file or folder out of the set and leave a link to it."""

    def run(folder: Path) -> None:
        outside = Path("outside").absolute()
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return run


def without_masks(folder: Path) -> None:
    for number in range(8):
        edit(folder / "metadata.csv", f"masks/{number:05d}.png", "")


def resized(height: int, width: int) -> Change:
    def run(folder: Path) -> None:
        for path in folder.glob("*/*.png"):
            with Image.open(path) as image:
                small = image.resize((width, height), Image.Resampling.NEAREST)
            small.save(path)

    return run


ONE, ROW = "images/00001.png", "images/00001.png,masks/00001.png,P00001,,"
OUT = "points out of the set; copy the file into the set"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (cut(ONE), f"{ONE}: cannot be decoded (...); replace the file"),
        (content(ONE, b"text"), f"{ONE}: no picture of a known format; replace the file"),
        (lambda f: (f / ONE).unlink(), f"{ONE}: no such file; add it or remove its row"),
        (
            lambda f: shutil.rmtree(f / "images"),
            "images/00000.png and 7 more: no such file; add it or remove its row",
        ),
        (
            picture(ONE, 64, 64, dtype=np.uint16),
            f"{ONE}: has 16 bits per pixel, but 8 were declared; convert it or correct ...",
        ),
        (
            encoding(bits=16),
            "images/00000.png and 7 more: has 8 bits per pixel, but 16 were declared; ...",
        ),
        (
            picture("masks/00001.png", 64, 64, dtype=np.uint16),
            "masks/00001.png: has 16 bits per pixel, but masks have 8; convert it",
        ),
        (picture(ONE, 64, 64, 3), f"{ONE}: mode RGB, but grey was declared; convert it to grey"),
        (
            picture("masks/00001.png", 64, 64, value=9),
            "masks/00001.png: class 9 is not declared; set.json knows [0, 1, 2]: declare it ...",
        ),
        (
            info(classes={"0": "background"}),
            "masks/00000.png and 7 more: class 1, 2 is not declared; set.json knows [0]: ...",
        ),
        (
            picture(ONE, 32, 32),
            f"{ONE}: 32 x 32 px, but the set's images are 64 x 64; replace it",
        ),
        (
            picture("images/00000.png", 32, 32),
            "images/00000.png: 32 x 32 px, but the set's images are 64 x 64; replace it",
        ),
        (
            picture("masks/00001.png", 32, 64),
            "masks/00001.png: 32 x 64 px, but the set's images are 64 x 64; replace it",
        ),
        (bomb(ONE, 100_000), f"{ONE}: more than the 64,000,000 pixels that are read; replace..."),
        (bomb(ONE, 10_000), f"{ONE}: more than the 64,000,000 pixels that are read; replace..."),
        (csv("F,63.0", "F,nan"), "metadata.csv:3: age 'nan'; write years, or leave it empty"),
        (csv("F,63.0", "F,old"), "metadata.csv:3: age 'old'; write years, or leave it empty"),
        (csv("F,63.0", "X,63.0"), "metadata.csv:3: sex 'X'; write F or M, or leave it empty"),
        (csv("P00001", "NaN"), "metadata.csv:3: subject is empty or NaN; name who is in the ..."),
        (csv("P00001,", "P00001,tset"), "metadata.csv:3: split 'tset'; write train, valid..."),
        (
            csv(ROW, ROW.replace("P00001,", "P00000,train")),
            "metadata.csv: subject P00000: in two splits (none and train); keep one",
        ),
        (
            csv(ONE, "images/00000.png"),
            "metadata.csv: images/00000.png: listed twice; keep one row",
        ),
        (csv("masks/00001.png", ""), "metadata.csv:3: mask_file_name is empty; name the file"),
        (csv(ONE, "../x.png"), f"metadata.csv:3: file_name ../x.png: {OUT}"),
        (csv(ONE, "/etc/x.png"), f"metadata.csv:3: file_name /etc/x.png: {OUT}"),
        (link(ONE), f"metadata.csv:3: file_name {ONE}: {OUT}"),
        (link("images"), f"metadata.csv:2: file_name images/00000.png and 7 more: {OUT}"),
        (lambda f: (f / "metadata.csv").unlink(), "metadata.csv: no such file; it lists the ..."),
        (content("metadata.csv", b"\xff\xfe"), "metadata.csv: is no UTF-8; save it as UTF-8"),
        (content("metadata.csv", b""), "metadata.csv: column file_name is missing; the first ..."),
        (content("metadata.csv", b"a;b\n"), "metadata.csv: column file_name is missing; the f..."),
        (content("metadata.csv", b"file_name,subject\n"), "metadata.csv: lists no images; add..."),
        (csv("sex,age", "sex,sex"), "metadata.csv: column sex is there twice; remove one"),
        (csv("P00001", '"P00001'), "metadata.csv:3: ...; mend its commas and quotes"),
        (csv("P00001", '"P0"0001'), "metadata.csv:3: ...; mend its commas and quotes"),
        (csv("P00001", "P\0"), "metadata.csv:3: ...; mend its commas and quotes"),
        (
            lambda f: (csv("P00001", '"P00001')(f), csv("P00004", 'P00004"')(f)),
            "metadata.csv:3: a value holds a line break or control character; mend its ...",
        ),
        (csv("P00001,", "P00001,,"), "metadata.csv:3: 10 values under 9 columns; mend its ..."),
        (lambda f: (f / "set.json").unlink(), "set.json: no such file; a set describes itself..."),
        (content("set.json", b'{"a":'), "set.json: no valid JSON (...); mend it"),
        (
            content("set.json", b'{"a": 1, "a": 2}'),
            "set.json: no valid JSON (duplicate key a); ...",
        ),
        (content("set.json", b"[]"), "set.json: must hold one JSON object; write it as {...}"),
        (content("set.json", b'"\xff"'), "set.json: byte 1 is no UTF-8; save it as UTF-8"),
        (info(schema=7), "set.json: key schema is 7, but this version reads 1; import the set ..."),
        (info(colour=1), "set.json: unknown key colour; known: schema, name, ..."),
        (encoding(gamma=2), "set.json: unknown key encoding.gamma; known: bits, window, unit"),
        (encoding(bits=12), "set.json: key encoding.bits: must be 8 or 16, not 12"),
        (
            encoding(window=[float("nan"), 100]),
            "set.json: key encoding.window.0: must be a finite number, not NaN",
        ),
        (
            encoding(window=[9, 1]),
            "set.json: key encoding.window: must be [low, high] in order, ...",
        ),
        (encoding(window=[1, 2, 3]), "set.json: key encoding.window: must have at most 2 items..."),
        (info(encoding=[1]), "set.json: key encoding: must be a mapping"),
        (info(classes=["a"]), "set.json: key classes: must be a mapping"),
        (info(classes={"1": "x"}), "set.json: key classes: must name class 0, the background"),
        (info(classes={"0": "b", "x": "l"}), "set.json: key classes.x: must be a valid integer..."),
        (info(layout={"tiles": [2]}), "set.json: key layout.tiles.1 is missing; add it"),
        (info(layout={"tiles": [3, 3]}), "set.json: key layout.tiles: 3 x 3 tiles do not div..."),
        (info(spacing=[float("nan"), 1]), "set.json: key spacing.0: must be a finite number, ..."),
    ],
)
def test_sets(umbench: Umbench, good: Path, damage: Change, expected: str) -> None:
    shutil.copytree(good, "set")
    damage(Path("set"))
    check(umbench("data", "inspect", "set"), f"set/{expected}")


def test_the_fingerprint_covers_whatever_the_table_names(umbench: Umbench, good: Path) -> None:
    folder = Path(shutil.copytree(good, "set"))
    edit(folder / "metadata.csv", ONE, "elsewhere.png")
    (folder / ONE).rename(folder / "elsewhere.png")
    before = content_fingerprint(folder)
    picture("elsewhere.png", 64, 64)(folder)
    assert content_fingerprint(folder) != before


@pytest.mark.parametrize("target", ["set", "file/x.png"])
def test_a_picture_that_cannot_be_written(umbench: Umbench, good: Path, target: str) -> None:
    shutil.copytree(good, "set")
    Path("file").touch()
    said = umbench("data", "inspect", "set", "--picture", target)
    check(said, f"{target}: a ... stands where a ... should be; name another one with --picture")


# Whether suite and set fit, known before anything is made ---------------------------------------


def nothing(folder: Path) -> None:
    """Leave the set as it is."""


@pytest.mark.parametrize(
    ("damage", "old", "new", "expected"),
    [
        (resized(100, 100), "", "", "set: images of 100 x 100 px, but generators need squares..."),
        (
            resized(16, 16),
            "",
            "",
            "set: images of 16 x 16 px, but generators need squares whose...",
        ),
        (
            resized(64, 96),
            "",
            "",
            "set: images of 64 x 96 px, but generators need squares whose...",
        ),
        (
            without_masks,
            "",
            "",
            "set: no image has a mask, but generators learn from them; add some",
        ),
        (encoding(bits=16), "", "", "set/images/00000.png: has 8 bits per pixel, but 16 were ..."),
        (csv("P00001", ""), "", "", "set/metadata.csv:3: subject is empty or NaN; name who is ..."),
        (
            nothing,
            "{train: 4, validation: 2, test: 2}",
            "given",
            "splits: given, but the set has no test, train, validation images; name counts of ...",
        ),
        (
            nothing,
            "train: 4",
            "train: 40",
            "splits: 40 + 2 + 2 = 44 subjects asked, but the set has 8; lower the counts",
        ),
        (
            nothing,
            "labelled: 4",
            "labelled: 5",
            "labelled: 5 images asked, but train has 4; lower it or raise splits.train",
        ),
        (
            nothing,
            "samples: 4",
            "samples: 7",
            "samples: 7 asked of m2i, but validation and train hold 6 conditions; lower it or ...",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_made(
    umbench: Umbench, good: Path, damage: Change, old: str, new: str, expected: str
) -> None:
    shutil.copytree(good, "set")
    damage(Path("set"))
    Path("suite.yaml").write_text(FOLDER_SUITE.replace(old, new))
    for command in ("plan", "run"):
        check(umbench(command, "suite.yaml", "--data", "set"), expected)
    assert sorted(path.name for path in Path().iterdir()) == ["set", "suite.yaml"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["labelled=200"], "labelled: 200 images asked, but train has 120; lower it or raise ..."),
        (["samples=500"], "samples: 500 asked of m2i, um2i, but validation and train hold 100 ..."),
        (
            ["splits.train=200"],
            "splits: 200 + 60 + 60 = 320 subjects asked, but the set has 240;...",
        ),
        (["splits.test=2"], "splits.test: 2 images, but this suite needs 4; raise it"),
        (
            ["data.phantom.montages=8", "labelled=4"],
            "labelled: 4 images asked, but the first subject of train has 8 and subjects are ...",
        ),
        (
            ["panel.extractors=[sex]", "splits.train=2", "labelled=1", "split_seed=1"],
            "panel.extractors: none can be used here: extractor sex: fewer than two classes of ...",
        ),
    ],
)
def test_what_does_not_fit_a_phantom(umbench: Umbench, overrides: list[str], expected: str) -> None:
    options = [word for override in overrides for word in ("--set", override)]
    check(umbench("plan", "quick", *options), expected)


def test_weights_that_are_not_whole_are_found_before_any_training(
    umbench: Umbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(inception_v3.FILE).write_bytes(b"half")
    monkeypatch.setenv(inception_v3.WEIGHTS_VARIABLE, ".")
    usable._weights.cache_clear()
    said = umbench("run", "quick", "--set", "panel.extractors=[inception-v3]")
    check(said, f"extractor inception-v3: {inception_v3.FILE}: SHA-256 is ...; fetch it again")
    usable._weights.cache_clear()


def test_a_perceptual_network_that_is_not_there_is_found_before_any_training(
    umbench: Umbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("UMBENCH_WEIGHTS", "TORCH_HOME"):
        monkeypatch.setenv(variable, str(Path("weights").absolute()))
    said = umbench("plan", "quick", "--set", "training.perceptual=vgg19")
    check(said, "training.perceptual: ...vgg19...")
    assert not Path(".umbench").exists()


# Imports ----------------------------------------------------------------------------------------


@pytest.fixture
def source(umbench: Umbench) -> Path:
    folder = Path("src")
    (folder / "i").mkdir(parents=True)
    (folder / "m").mkdir()
    picture("i/7.png", 40, 60)(folder)
    picture("m/7.png", 40, 60, 3)(folder)
    return folder


def spec(old: str, new: str) -> Change:
    assert old in SPEC
    return lambda folder: edit(Path("spec.yaml"), old, new)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (spec("size", "sise"), "spec.yaml:6:1: unknown key sise; did you mean 'size'?"),
        (
            spec("masks", "mask"),
            "spec.yaml:3:17: unknown key sources.0.mask; did you mean 'masks'?",
        ),
        (spec("size: 32", "size: 32\nsize: 64"), "spec.yaml:7:1: duplicate key size; remove one"),
        (spec("32", "big"), "spec.yaml:6:1: key size: must be a valid integer, not 'big'"),
        (spec("32", "32\nwindow: [.nan, 1]"), "spec.yaml:7:10: key window.0: must be a finite ..."),
        (spec("32", "32\nwindow: [3, 1]"), "spec.yaml:7:1: key window: must be [low, high] in ..."),
        (spec("32", "32\na: ["), "spec.yaml:8:1: ...; mend the YAML"),
        (
            spec("32", "32\ntransform: mirror"),
            "spec.yaml:7:1: key transform: must be 'identity',...",
        ),
        (spec("0: background, ", ""), "spec.yaml:4:1: key classes: must name class 0, the back..."),
        (spec('"#ff0000": 1', '"#ff0000": 5'), "spec.yaml:5:1: key class_map: '#ff0000' is cl..."),
        (spec('"#ff0000"', "red"), "spec.yaml:5:1: key class_map: 'red' is neither '#rrggbb' ..."),
        (
            spec("  - {", "  - {images: j}\n  - {"),
            "spec.yaml:2:1: key sources: some have masks and some not; name masks for all or none",
        ),
        (spec("images: i", "images: j"), "src/j: no such folder; check the spec's sources"),
        (
            lambda f: Path("spec.yaml").write_bytes(b"\xff"),
            "spec.yaml: byte 0 is no UTF-8; save ...",
        ),
        (lambda f: (f / "i/7.png").unlink(), "src/i: holds no pictures (...); check the spec's..."),
        (lambda f: (f / "m/7.png").unlink(), "src/m: no mask called 7 for src/i/7.png; add it"),
        (cut("i/7.png"), "src/i/7.png: cannot be decoded (...); replace the file"),
        (
            bomb("i/7.png", 10_000),
            "src/i/7.png: more than the 64,000,000 pixels that are read; ...",
        ),
        (picture("i/7.png", 40, 60, dtype=np.uint16), "src/i/7.png: deeper than the 8 bits ..."),
        (
            lambda f: Image.new("RGB", (60, 40), (0, 200, 0)).save(f / "i/7.png"),
            "src/i/7.png: a coloured picture, but images are grey; convert it",
        ),
        (picture("m/7.png", 20, 60), "src/m/7.png: its size differs from that of src/i/7.png; ..."),
        (
            picture("m/7.png", 40, 60, value=9),
            "src/m/7.png: colour #090909 has no class; class_map knows #000000, #ff0000: declar...",
        ),
    ],
)
def test_imports(umbench: Umbench, source: Path, damage: Change, expected: str) -> None:
    Path("spec.yaml").write_text(SPEC)
    damage(source)
    check(umbench("data", "import", "src", "--spec", "spec.yaml", "--out", "new"), expected)
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("src", "src: the folder is not empty; name another one"),
        ("spec.yaml", "spec.yaml: a file stands there; name another folder"),
        ("spec.yaml/x", "spec.yaml/x: a file stands where a folder should be; name another one..."),
        (".", ".: the folder is not empty; name another one"),
    ],
)
def test_where_a_set_cannot_go(umbench: Umbench, source: Path, out: str, expected: str) -> None:
    Path("spec.yaml").write_text(SPEC)
    (source / "i/7.png").write_text("not looked at: the folder is checked first")
    check(umbench("data", "import", "src", "--spec", "spec.yaml", "--out", out), expected)


# Disks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--store", "--out"])
@pytest.mark.parametrize("place", ["file", "file/x"])
def test_a_file_in_the_way(umbench: Umbench, option: str, place: str) -> None:
    Path("suite.yaml").write_text(SUITE)
    Path("file").touch()
    named = Path(place).absolute() if option == "--store" else Path(place, "tiny")
    check(
        umbench("run", "suite.yaml", "--quiet", option, place),
        f"{named}: a file stands where a folder should be; name another one with {option}",
    )


STRANGE: dict[str, Change] = {
    "dangling": lambda p: p.symlink_to("nowhere"),
    "link to another": lambda p: p.symlink_to(Path("other").absolute()),
    "file": lambda p: p.write_text("{}"),
    "empty folder": lambda p: p.mkdir(),
    "empty list": lambda p: (p.mkdir(), (p / "result.json").write_text('{"files": {}}')),
    "list": lambda p: (p.mkdir(), (p / "result.json").write_text("[1]")),
}


@pytest.mark.parametrize("change", STRANGE)
def test_what_stands_in_a_store_and_is_no_entry_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("suite.yaml").write_text(SUITE)
    status = planned()
    assert {row["why"] for row in status} == {"never made"}
    Path("other").mkdir()
    for folder in ("entries", "last", "temporary"):
        Path(".umbench", folder).mkdir(parents=True)
    for row in status:
        STRANGE[change](Path(".umbench/entries", row["key"]))
        name = hashlib.sha256(row["id"].encode()).hexdigest()[:32]
        STRANGE[change](Path(".umbench/last", f"{name}.json"))
    assert planned() == status


def planned() -> list[dict[str, Any]]:
    """What `umbench plan` says of each stage."""
    said = CliRunner().invoke(plan, ["suite.yaml", "--json"], catch_exceptions=False)
    assert said.exit_code == 0
    stages: list[dict[str, Any]] = json.loads(said.stdout)[0]["stages"]
    return stages


class Disk(Protocol):
    """A disk that can be made too small for what is written, or read-only."""

    path: Path

    def fill(self) -> None:
        """Leave no space."""

    def free(self) -> None:
        """Leave enough."""

    def lock(self) -> None:
        """Make it read-only."""


class SmallFileSystem:
    """A file system of its own, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        _mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(path))

    def fill(self) -> None:
        with (self.path / "filler").open("wb", buffering=0) as file, pytest.raises(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)
        _mount("-o", "remount,size=400m", str(self.path))

    def lock(self) -> None:
        _mount("-o", "remount,ro", str(self.path))

    def close(self) -> None:
        subprocess.run(["umount", str(self.path)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


class FailingWrites:
    """Where nothing can be mounted: the errors that a full or read-only disk gives."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.monkeypatch, self.number = path, monkeypatch, 0
        path.mkdir()
        for owner, name in ((Image.Image, "save"), (Path, "write_bytes"), (Path, "mkdir")):
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name), name))

    def _guarded(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **options: Any) -> Any:
            target = rest[0] if name == "save" else first
            refused = errno.EROFS if name == "mkdir" else errno.ENOSPC
            inside = isinstance(target, Path) and self.path.absolute() in target.absolute().parents
            if self.number == refused and inside:
                raise OSError(refused, "refused", str(target))
            return function(first, *rest, **options)

        return call

    def fill(self) -> None:
        self.number = errno.ENOSPC

    def free(self) -> None:
        self.number = 0

    def lock(self) -> None:
        self.number = errno.EROFS


@pytest.fixture(params=["real", "pretended"])
def disk(
    request: pytest.FixtureRequest, umbench: Umbench, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Disk]:
    if request.param == "pretended":
        yield FailingWrites(Path("disk"), monkeypatch)
        return
    try:
        real = SmallFileSystem(Path("disk"))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting is not allowed here")
    yield real
    real.close()


def test_a_full_disk_under_the_run_folder(umbench: Umbench, disk: Disk) -> None:
    Path("suite.yaml").write_text(SUITE)
    disk.fill()
    check(umbench("run", "suite.yaml", "--quiet", "--out", "disk"), f"disk/tiny: {FULL}")
    assert not Path(".umbench").exists()


def test_a_full_disk_under_the_store(umbench: Umbench, disk: Disk) -> None:
    Path("suite.yaml").write_text(SUITE)
    disk.fill()
    said = umbench("run", "suite.yaml", "--quiet", "--workers", 1, "--store", "disk/store")
    check(said, f"{Path('disk/store').absolute()}: {FULL}")
    assert not list(Path("disk/store/entries").iterdir())
    assert not list(Path("disk/store/temporary").iterdir())


@pytest.mark.parametrize("option", ["--store", "--out"])
def test_a_read_only_disk(umbench: Umbench, disk: Disk, option: str) -> None:
    Path("suite.yaml").write_text(SUITE)
    disk.lock()
    named = Path("disk/x").absolute() if option == "--store" else Path("disk/x/tiny")
    said = umbench("run", "suite.yaml", "--quiet", option, "disk/x")
    check(said, f"{named}: it is read-only; name another place with {option}")


def test_a_full_disk_under_a_new_set(umbench: Umbench, disk: Disk) -> None:
    disk.fill()
    said = umbench("data", "phantom", "--subjects", 2, "--size", 32, "--out", "disk/set")
    check(said, f"disk/set: {FULL}")
    assert not Path("disk/set").exists()


def test_a_full_disk_under_a_picture_keeps_the_one_that_was_there(
    umbench: Umbench, disk: Disk, good: Path
) -> None:
    Path("disk/x.png").write_text("old")
    disk.fill()
    check(umbench("data", "inspect", good, "--picture", "disk/x.png"), f"disk/x.png: {FULL}")
    assert Path("disk/x.png").read_text() == "old"


def test_a_disk_that_fills_up_in_a_training(
    umbench: Umbench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("suite.yaml").write_text(SUITE)
    run = ("run", "suite.yaml", "--quiet", "--workers", 1, "--store", "disk/store")
    with monkeypatch.context() as pretence:
        if isinstance(disk, FailingWrites):
            pretence.setattr("torch.save", fail_as_torch_does)
        check(umbench(*run), f"{Path('disk/store').absolute()}: {FULL}")
    made = {p: p.stat().st_mtime_ns for p in Path("disk/store/entries").glob("*/result.json")}
    assert made
    disk.free()
    check_report(umbench(*run, status=0))
    assert made.items() <= {p: p.stat().st_mtime_ns for p in made}.items()
    assert not list(Path("disk/store/scratch").iterdir())
    disk.lock()
    check_report(umbench(*run, status=0))
    said = umbench(*run, "--set", "samples=4")
    check(
        said, f"{Path('disk/store').absolute()}: it is read-only; name another place with --store"
    )


def fail_as_torch_does(state: object, file: IO[bytes]) -> None:
    file.write(b"half")
    raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598")


def check_report(said: list[str]) -> None:
    assert said == [f"Report: {Path('runs/tiny/report.html')}"]
