"""The leaderboard: tiers, deterministic bytes, escaped names, nothing from elsewhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from umbench.leaderboard.matrix import render_matrix
from umbench.leaderboard.notes import Translator, against, notes_of, trust
from umbench.leaderboard.pictures import Samples, overlay, shrunk
from umbench.leaderboard.plots import box_plot
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import cells, headings, summarise, tiers, write_leaderboard
from umbench.leaderboard.terminal import render_folder

HOSTILE = "<script>alert(1)</script>|$\\bad$[red]"
KINDS = {"good": "generator", HOSTILE: "generator", "real": "real", "degraded": "degraded"}
MEANS = {"good": 0.2, HOSTILE: 0.6, "real": 0.0, "degraded": 1.0}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rows = []
    for method, mean in MEANS.items():
        for index, (extractor, resolution) in enumerate([("a", 64), ("a", 128), ("b", 64)]):
            for metric in ("mm-fid-anchored", "mm-fid-minmax", "mm-std", "mm-std-relative",
                           "frechet-distance"):  # fmt: skip
                rows.append(
                    {
                        "method": method, "seed": 0, "metric": metric, "extractor": extractor,
                        "resolution": resolution, "value": mean + 0.01 * index, "low": 0.0,
                        "high": 1.0, "n_real": 60, "n_synthetic": 60,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def tests() -> pd.DataFrame:
    row = {
        "metric": "mm-fid-anchored", "family": "all pairs", "a": "good", "b": HOSTILE, "n": 3,
        "difference": -0.4, "p": 0.25, "p_holm": 0.25, "effect": -1.0, "smallest_p": 0.25,
        "p_resampling": 0.002, "p_resampling_holm": 0.002, "note": "few pairs",
    }  # fmt: skip
    return pd.DataFrame([row])


@pytest.fixture
def meta() -> dict[str, Any]:
    extractor = {
        "name": "a", "backbone": "compact", "dim": 96, "fingerprint": "f" * 64, "accuracy": 0.5,
        "chance": 0.5, "n_held_out": 60, "flag": "no better than chance",
    }  # fmt: skip
    return {
        "suite": "s", "metrics": ["mm-fid", "mm-std"], "normalisation": "anchored",
        "verdict": "resampling", "alpha": 0.05,
        "reference": "good", "extractors": [extractor], "resolutions": [64, 128], "seeds": [0],
        "n_real": 60, "n_synthetic": 60, "notes": [],
        "left_out": [{"what": "extractor sex", "why": "not known"}],
    }  # fmt: skip


def test_order_tiers_and_controls(
    scores: pd.DataFrame, tests: pd.DataFrame, meta: dict[str, Any]
) -> None:
    board = summarise(scores, None, tests, KINDS, meta)
    assert list(board["method"]) == ["real", "good", HOSTILE, "degraded"]
    assert board["tier"].tolist() == [pd.NA, 1, 2, pd.NA]
    paper = summarise(scores, None, tests, KINDS, {**meta, "verdict": "wilcoxon"})
    assert paper["tier"].tolist() == [pd.NA, 1, 1, pd.NA]
    assert board.loc[1, "mm_fid"] == pytest.approx(0.21)


def test_tiers_start_where_the_best_of_the_last_one_differs() -> None:
    p = {frozenset("ab"): 0.5, frozenset("ac"): 0.01, frozenset("cd"): 0.5}
    assert tiers(list("abcd"), p, 0.05) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_outputs_are_deterministic_and_complete(
    scores: pd.DataFrame, tests: pd.DataFrame, meta: dict[str, Any], tmp_path: Path
) -> None:
    board = summarise(scores, None, tests, KINDS, meta)
    pictures = {HOSTILE: ("pictures/a b.png", Samples.of(np.zeros((1, 4, 4)), None).thumbnail())}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_leaderboard(tmp_path / name, board, meta)
        write_report(tmp_path / name / "report.html", board, scores, tests, pictures, meta)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert json.loads((tmp_path / "a/leaderboard.json").read_text())["meta"]["suite"] == "s"
    page = (tmp_path / "a/report.html").read_text()
    assert "<script" not in page
    assert "not known" in page
    assert '<a href="pictures/a%20b.png"><img' in page
    assert "data:image/jpeg;base64," in page
    for outside in ('src="http', 'href="http', "@import"):
        assert outside not in page
    assert "<script" not in (tmp_path / "a/leaderboard.md").read_text()
    buffer = io.StringIO()
    Console(file=buffer, width=120).print(render_folder(tmp_path / "a"))
    shown = " ".join(buffer.getvalue().split())
    assert "[red]" in shown
    assert "no better than chance" in shown
    assert "Left out: extractor sex: not known." in shown


def test_box_plot_shows_every_method(scores: pd.DataFrame) -> None:
    svg = box_plot(scores, "mm-fid-anchored", list(KINDS), "distance")
    assert svg.startswith("<svg")
    assert ">good<" in svg


def test_masks_are_drawn_where_they_are() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 1
    drawn = overlay(np.full((8, 8), 0.5), mask)
    coloured = drawn.std(axis=2) > 0
    assert (coloured == (mask > 0)).all()


def test_a_thumbnail_shows_what_the_full_picture_shows() -> None:
    images = np.zeros((3, 400, 400), np.float32)
    images[:, 100:300, 100:300] = 1
    masks = (images > 0).astype(int)
    samples = Samples.of(images, masks, conditions=255 * images)
    full = np.asarray(Image.open(io.BytesIO(samples.png())))
    small = np.asarray(Image.open(io.BytesIO(samples.thumbnail())))
    assert full.shape == (3 * 404 + 4, 3 * 404 + 4, 3)
    assert small.shape == (3 * 164 + 4, 3 * 164 + 4, 3)
    for row in range(3):  # the first picture of a row: background at its edge, a square within
        top, inside = 4 + 164 * row + 20, 4 + 164 * row + 80
        assert small[top, 24].max() < 12
        assert small[inside, 84].min() > 150
    assert samples.thumbnail() == Samples.of(images, masks, 255 * images).thumbnail()


def test_a_small_picture_is_not_enlarged() -> None:
    picture = np.random.default_rng(0).integers(256, size=(64, 128), dtype=np.uint8)
    assert shrunk(picture, 160) is picture
    assert shrunk(picture, 32).shape == (16, 32)
    assert Samples([picture[None]]).png().startswith(b"\x89PNG")


def test_a_report_is_small_at_any_size(
    scores: pd.DataFrame, tests: pd.DataFrame, meta: dict[str, Any], tmp_path: Path
) -> None:
    """Noise is the worst that can be drawn; the paper's suite has 13 rows of pictures."""
    rng = np.random.default_rng(0)
    images = rng.random((6, 1024, 1024), dtype=np.float32)
    samples = Samples.of(images, rng.integers(3, size=images.shape), 255 * images)
    small = samples.thumbnail()
    thumbnails = {f"row {k}": (f"pictures/row-{k}.png", small) for k in range(13)}
    board = summarise(scores, None, tests, KINDS, meta)
    write_report(tmp_path / "report.html", board, scores, tests, thumbnails, meta)
    assert (tmp_path / "report.html").stat().st_size < 10e6
    assert 13 * len(samples.thumbnail(1024)) > 10e6


def row(method: str, kind: str, classes: list[str]) -> dict[str, Any]:
    """A row of the board; every number is another one."""
    rng = np.random.default_rng([*method.encode()])
    means = ("mm_fid", "mm_fid_minmax", "mm_std")
    out: dict[str, Any] = {
        "method": method,
        "kind": kind,
        "tier": 1 if kind == "generator" else None,
    }
    for name in [*means, *(f"{m}_sd" for m in means)]:
        out[name] = np.nan if kind == "pairs" else 20 * rng.random()
    for name in classes:
        out[f"dice {name}"], out[f"dice {name}, where present"] = rng.random(2)
        out[f"empty {name} in truth"] = int(name == "lesion")
    return out


LONG = "v2um2i-supervised-as-such"[:24]
ROWS = [("real", "real"), ("um2i", "generator"), (LONG, "generator"), ("good", "generator"),
        ("datasetgan untrained", "untrained"), ("real+held-out", "pairs")]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 81, 90, 100, 120, 140, 200])
@pytest.mark.parametrize("classes", [["lung", "lesion"], ["lung", "lesion", "consolidation"]])
def test_no_number_breaks_at_any_width(
    meta: dict[str, Any], tmp_path: Path, classes: list[str], width: int
) -> None:
    board = pd.DataFrame([row(*pair, classes) for pair in ROWS]).astype({"tier": "Int64"})
    write_leaderboard(tmp_path, board, meta)
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(render_folder(tmp_path))
    text = buffer.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    told = " ".join(text.split()).partition("leaderboard.md: ")
    gone = told[2].partition(".")[0].split("; ") if told[1] else []
    shown = [name for name in headings(board) if name not in gone]
    assert {"tier", "method", "MM-FID"} <= set(shown)
    if width >= 80:
        assert {"min-max", "MM-STD"} & set(shown)
        assert "Dice lung" in shown
    if width >= 140:
        assert not gone
    words = text.split()
    for line in cells(board, shown, " "):
        for cell in line[2:]:
            assert all(part in words for part in cell.split()), (cell, shown)
    assert LONG in words  # names of this length are whole


def test_no_number_breaks_in_a_table_of_arms(meta: dict[str, Any]) -> None:
    board = pd.DataFrame([row(LONG, "generator", ["lung", "lesion", "consolidation"])])
    board.insert(0, "arm", "panel.resolutions=32-64,guidance.superpixels=slic")
    board = board.assign(normalisation="anchored", n_synthetic=1000)
    buffer = io.StringIO()
    Console(file=buffer, width=80).print(render_matrix(board))
    text = buffer.getvalue()
    shown = ["MM-FID", "MM-STD", "Dice lung", "Dice lesion", "Dice consolidation"]
    for cell in cells(board, shown)[0]:
        assert set(cell.split()) <= set(text.split())
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text


def test_a_board_without_variety_does_not_show_it(
    scores: pd.DataFrame, tests: pd.DataFrame, meta: dict[str, Any], tmp_path: Path
) -> None:
    for metrics, times in ((["mm-fid", "mm-std"], 1), (["mm-fid"], 0)):
        asked = {**meta, "metrics": metrics}
        board = summarise(scores, None, tests, KINDS, asked)
        write_leaderboard(tmp_path, board, asked)
        write_report(tmp_path / "report.html", board, scores, tests, {}, asked)
        for name in ("report.html", "leaderboard.md"):
            assert ("MM-STD" in (tmp_path / name).read_text()) == bool(times), name
        assert (tmp_path / "report.html").read_text().count('aria-label="Variety"') == times


def test_columns_go_in_the_stated_order(meta: dict[str, Any], tmp_path: Path) -> None:
    board = pd.DataFrame([row(*pair, ["lung", "lesion"]) for pair in ROWS])
    board = board.astype({"tier": "Int64"})
    write_leaderboard(tmp_path, board, meta)
    gone: list[str] = []
    order = ["Dice lesion, where present", "min-max", "MM-STD", "Dice lesion", "Dice lung"]
    for width in range(150, 38, -4):
        buffer = io.StringIO()
        Console(file=buffer, width=width).print(render_folder(tmp_path))
        told = " ".join(buffer.getvalue().split()).partition("leaderboard.md: ")
        found = told[2].partition(".")[0].split("; ") if told[1] else []
        assert sorted(found) == sorted(order[: len(found)]) and len(found) >= len(gone), width
        gone = found
    assert len(gone) == len(order)


def test_arms_of_real_pairs_have_dice_and_nothing_else(
    scores: pd.DataFrame, tests: pd.DataFrame, meta: dict[str, Any], tmp_path: Path
) -> None:
    dice = pd.DataFrame(
        [
            {"method": arm, "seed": 0, "subject": f"s{k}", "region": "lung", "value": value,
             "empty": ""}
            for arm, value in (("real", 0.5), ("real+good", 0.6), ("real+held-out", 0.7))
            for k in range(3)
        ]
    )  # fmt: skip
    board = summarise(scores, dice, tests, {**KINDS, "real+held-out": "pairs"}, meta)
    found = board.set_index("method")
    assert list(found.index) == ["real", "good", HOSTILE, "degraded", "real+held-out"]
    assert found["dice lung"].dropna().to_dict() == pytest.approx(
        {"real": 0.5, "good": 0.6, "real+held-out": 0.7}
    )
    assert found.loc["real+held-out", ["observations", "n_real", "n_synthetic"]].sum() == 0
    assert cells(board, ["method", "MM-FID", "Dice lung"])[-1] == ["real+held-out", "–", "0.700"]
    write_report(tmp_path / "report.html", board, scores, tests, {}, meta)
    assert "ones whose masks belong to other images" in (tmp_path / "report.html").read_text()


CLASSES = ["background", "lung", "lesion"]


def trusting(**share: float) -> Translator:
    return Translator(["um2i", "v2um2i"], {"trusted_share": share, "trusted_right": {"all": 0.974}})


def test_trust_in_unlabelled_pixels_is_said_and_none_is_flagged() -> None:
    (plain,) = trust([trusting(**{"1": 0.7, "2": 0.3, "all": 0.62})], CLASSES)
    assert plain == "um2i, v2um2i: trusted share of unlabelled pixels 0.62, right 0.97."
    (one,) = trust([trusting(**{"1": 0.7, "2": 0.004, "all": 0.62})], CLASSES)
    assert one.endswith("right 0.97; next to none of lesion.")
    (nothing,) = trust([trusting(**{"1": 0.0, "2": 0.0, "all": 0.004})], CLASSES)
    assert nothing.endswith("; the unlabelled images taught it nothing.")
    assert trust([Translator(["m2i"], {"perceptual": "vgg19"})], CLASSES) == []
    blind = Translator(["a"], {"trusted_share": {"all": 0.5}, "trusted_right": None})
    assert trust([blind], CLASSES) == ["a: trusted share of unlabelled pixels 0.50."]


def test_notes_say_switches_superpixels_and_networks() -> None:
    generators: list[dict[str, Any]] = [
        {"id": "um2i", "name": "um2i"},
        {"id": "um2i", "name": "strict", "supervision": "supervised", "paired": False},
    ]
    params = {
        "annotators": {"datasetgan": "segmenter"}, "psi": 0.7,
        "pairs": {"real+copies": 80, "real+held-out": 60, "real+shuffled": 60},
        "methods": [{"name": "m2i", "kind": "generator", "conditions": "masks"}],
        "suite": {
            "generators": generators, "samples": 80, "labelled": 40,
            "training": {"preset": "quick"},
            "guidance": {"superpixels": "slic", "count": 128, "t": 50},
        },
    }  # fmt: skip
    measured = {"superpixels_asked": 512.0, "superpixels_per_image": 431.4}
    used = ("efficientnet-lite0", "none")
    translators = [Translator(["um2i"], {"perceptual": name}) for name in used]
    notes = notes_of(params, translators, CLASSES, measured)
    assert notes[0] == "datasetgan: annotated by segmenter, not by a person."
    assert notes[1] == "strict: um2i, paired = false, supervision = supervised."
    assert "slic, 128 superpixels per tile (512 per image asked, 431 returned), t = 50" in notes[2]
    assert "label masks of up to 40 train images" in notes[2]
    fewer = "real+held-out, real+shuffled: 60 pairs, all of the validation split; the other arms"
    assert notes[-2] == f"{fewer} add 80."
    assert notes[-1] == "Perceptual loss of the translators: efficientnet-lite0."
    params["suite"]["guidance"] = {"superpixels": "none", "count": 128, "t": 0}
    params["suite"]["labelled"] = None
    params["pairs"] = {"real+copies": 80}
    notes = notes_of(params, [], CLASSES, {})
    assert "Guidance: the image itself, t = 0" in notes[2]
    assert not [note for note in notes if "pairs" in note]


def test_the_reference_is_what_others_are_told_against(tests: pd.DataFrame) -> None:
    records = [{**tests.iloc[0].to_dict(), "a": "bad", "b": "good", "difference": 0.4}]
    said = against("good", records, "mm-fid-anchored", "resampling")
    assert said == ["MM-FID against good, Holm-adjusted: bad +0.400 (p 0.002)."]
    assert against("good", records, "mm-std-relative", "resampling") == []
    assert "(p 0.25)" in against("good", records, "mm-fid-anchored", "wilcoxon")[0]
