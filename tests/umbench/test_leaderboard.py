"""The leaderboard: tiers, deterministic bytes, escaped names, nothing from elsewhere."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from umbench_metrics.metric import Span
from umbench_metrics.panel import ExtractorFacts
from umbench_metrics.registry import get

from umbench.errors import InputError
from umbench.leaderboard.matrix import Matrix, combine, render_matrix
from umbench.leaderboard.notes import Network, against, notes_of, trust
from umbench.leaderboard.pictures import Samples, overlay, shrunk
from umbench.leaderboard.plots import box_plot
from umbench.leaderboard.provenance import LeftOut, Method, Presented, Provenance
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import (
    cells,
    footer,
    headings,
    read_leaderboard,
    summarise,
    tiers,
    write_leaderboard,
)
from umbench.leaderboard.terminal import render_folder

HOSTILE = "<script>alert(1)</script>|$\\bad$[red]"
METHODS = (
    Method("good", "generator", "m2i", "masks"),
    Method(HOSTILE, "generator", "um2i", "guidance"),
    Method("real", "real"),
    Method("degraded", "degraded"),
)
SPAN = Span(["good", HOSTILE], "anchored")
MADE = {"good": 0.2, HOSTILE: 0.6, "real": 0.0, "degraded": 1.0}


@pytest.fixture(scope="module")
def scores() -> pd.DataFrame:
    rows = []
    for method, mean in MADE.items():
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


def presented(*names: str) -> tuple[Presented, ...]:
    """Metrics as a suite shows them whose anchors are in order."""
    metrics = [get(name) for name in names]
    scores = {f"{m.name}-{mode}" for m in metrics for mode in ("anchored", "minmax")}
    return tuple(Presented.of(m, m.shown(scores, SPAN)) for m in metrics)


BOTH = presented("mm-fid", "mm-std")
EXTRACTOR = ExtractorFacts(
    name="a", backbone="compact", dim=96, fingerprint="f" * 64, accuracy=0.5, chance=0.5,
    n_held_out=60, flag="no better than chance",
)  # fmt: skip


@pytest.fixture
def provenance() -> Provenance:
    return Provenance(
        suite="s", methods=METHODS, metrics=BOTH, verdict="resampling", alpha=0.05,
        extractors=(EXTRACTOR,), resolutions=(64, 128), seeds=(0,), n_real=60, n_synthetic=60,
        reference="good", left_out=(LeftOut("extractor sex", "not known"),),
        settings={"name": "s", "samples": 60},
    )  # fmt: skip


def test_provenance_is_read_back(provenance: Provenance) -> None:
    told = replace(provenance, notes=("a note",), metrics=presented("kid", "mm-std", "recall"))
    for known in (provenance, told):
        assert Provenance.read(json.loads(json.dumps(known.document()))) == known
    with pytest.raises(TypeError, match="colour"):
        Provenance.read({**provenance.document(), "colour": "red"})


def test_order_tiers_and_controls(
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance
) -> None:
    board = summarise(scores, None, tests, provenance)
    assert list(board["method"]) == ["real", "good", HOSTILE, "degraded"]
    assert board["tier"].tolist() == [pd.NA, 1, 2, pd.NA]
    paper = summarise(scores, None, tests, replace(provenance, verdict="wilcoxon"))
    assert paper["tier"].tolist() == [pd.NA, 1, 1, pd.NA]
    assert board.loc[1, "mm_fid"] == pytest.approx(0.21)


def test_tiers_start_where_the_best_of_the_last_one_differs() -> None:
    p = {frozenset("ab"): 0.5, frozenset("ac"): 0.01, frozenset("cd"): 0.5}
    assert tiers(list("abcd"), p, 0.05) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_outputs_are_deterministic_and_complete(
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance, tmp_path: Path
) -> None:
    board = summarise(scores, None, tests, provenance)
    pictures = {HOSTILE: ("pictures/a b.png", Samples.of(np.zeros((1, 4, 4)), None).thumbnail())}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_leaderboard(tmp_path / name, board, provenance)
        write_report(tmp_path / name / "report.html", board, scores, tests, pictures, provenance)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    assert read_leaderboard(tmp_path / "a")[1] == provenance
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
    svg = box_plot(scores, "mm-fid-anchored", list(MADE), "distance")
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
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance, tmp_path: Path
) -> None:
    """Noise is the worst that can be drawn; the paper's suite has 13 rows of pictures."""
    rng = np.random.default_rng(0)
    images = rng.random((6, 1024, 1024), dtype=np.float32)
    samples = Samples.of(images, rng.integers(3, size=images.shape), 255 * images)
    small = samples.thumbnail()
    thumbnails = {f"row {k}": (f"pictures/row-{k}.png", small) for k in range(13)}
    board = summarise(scores, None, tests, provenance)
    write_report(tmp_path / "report.html", board, scores, tests, thumbnails, provenance)
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
    provenance: Provenance, tmp_path: Path, classes: list[str], width: int
) -> None:
    board = pd.DataFrame([row(*pair, classes) for pair in ROWS]).astype({"tier": "Int64"})
    write_leaderboard(tmp_path, board, provenance)
    buffer = io.StringIO()
    Console(file=buffer, width=width).print(render_folder(tmp_path))
    text = buffer.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    told = " ".join(text.split()).partition("leaderboard.md: ")
    gone = told[2].partition(".")[0].split("; ") if told[1] else []
    shown = [name for name in headings(board, BOTH) if name not in gone]
    assert {"tier", "method", "MM-FID"} <= set(shown)
    if width >= 80:
        assert {"min-max", "MM-STD"} & set(shown)
        assert "Dice lung" in shown
    if width >= 140:
        assert not gone
    words = text.split()
    for line in cells(board, shown, BOTH):
        for cell in line[2:]:
            assert all(part in words for part in cell.split()), (cell, shown)
    assert LONG in words  # names of this length are whole


def test_no_number_breaks_in_a_table_of_arms() -> None:
    board = pd.DataFrame([row(LONG, "generator", ["lung", "lesion", "consolidation"])])
    board.insert(0, "arm", "panel.resolutions=32-64,guidance.superpixels=slic")
    board = board.assign(normalisation="anchored", n_synthetic=1000)
    buffer = io.StringIO()
    Console(file=buffer, width=80).print(render_matrix(Matrix(board, BOTH)))
    text = buffer.getvalue()
    shown = ["MM-FID", "MM-STD", "Dice lung", "Dice lesion", "Dice consolidation"]
    for cell in cells(board, shown, BOTH)[0]:
        assert set(cell.split()) <= set(text.split())
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text


def with_others(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of further metrics, in which `good` and the other one change places."""
    out = [scores]
    for score in ("kernel-distance", "kid-anchored", "recall", "precision"):
        out.append(scores[scores["metric"] == "mm-std"].assign(metric=score))
    return pd.concat(out, ignore_index=True)


SHOWN = {"mm-fid": "MM-FID", "mm-std": "MM-STD", "kid": "KID", "recall": "Recall"}


@pytest.mark.parametrize(
    "asked", [["mm-fid", "mm-std"], ["mm-fid"], ["mm-std"], ["kid", "recall"], ["recall", "mm-fid"]]
)
def test_what_was_asked_for_is_shown_and_nothing_else(
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance, tmp_path: Path,
    asked: list[str],
) -> None:  # fmt: skip
    provenance = replace(provenance, metrics=presented(*asked))
    every = with_others(scores)
    board = summarise(every, None, tests, provenance)
    write_leaderboard(tmp_path, board, provenance)
    write_report(tmp_path / "report.html", board, every, tests, {}, provenance)
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(render_folder(tmp_path))
    Console(file=buffer, width=200).print(render_matrix(combine([tmp_path, tmp_path])))
    pages = [(tmp_path / name).read_text() for name in ("report.html", "leaderboard.md")]
    for page in (*pages, buffer.getvalue()):
        for name, label in SHOWN.items():
            assert (label in page) == (name in asked), label
        assert ("min-max" in page) == ("mm-fid" in asked)
        assert "Dice" not in page
    for name, aspect in {"mm-std": "Variety", "recall": "Variety", "kid": "Fidelity"}.items():
        assert pages[0].count(f'aria-label="{aspect}"') >= (name in asked)
    assert ("<h2>Fréchet distances" in pages[0]) == ("mm-fid" in asked)
    assert ("<h2>Kernel distances" in pages[0]) == ("kid" in asked)
    columns = {c for c in board if c.endswith("_sd")}
    assert columns == {f"{c.name}_sd" for m in provenance.metrics for c in m.columns}


def test_the_first_metric_orders_the_board(
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance
) -> None:
    every = with_others(scores)
    recall = replace(provenance, metrics=presented("recall", "mm-fid"))
    board = summarise(every, None, tests, recall)
    assert list(board["method"]) == ["degraded", HOSTILE, "good", "real"]  # higher is better
    assert board["tier"].isna().all()  # it has no test
    assert "Tiers: none" in "".join(footer(recall))
    variety = replace(provenance, metrics=presented("mm-std"))
    board = summarise(every, None, tests, variety)
    assert list(board["method"]) == ["degraded", HOSTILE, "good", "real"]  # nearest to 1
    nothing = replace(provenance, metrics=())
    board = summarise(every, None, tests, nothing)
    assert list(board["method"]) == [m.name for m in METHODS]
    assert footer(nothing)[0].startswith("n = 60 images")


def test_a_folder_is_ranked_as_a_generator_is(
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance
) -> None:
    foreign = tuple(replace(m, kind="folder") if m.name == "good" else m for m in METHODS)
    board = summarise(scores, None, tests, replace(provenance, methods=foreign))
    assert board["tier"].tolist() == [pd.NA, 1, 2, pd.NA]


def test_a_board_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.json").write_text('{"schema": 1, "meta": {}}')
    with pytest.raises(InputError, match=r"schema 1, this version reads 2; run the suite again"):
        read_leaderboard(tmp_path)


def test_columns_go_in_the_stated_order(provenance: Provenance, tmp_path: Path) -> None:
    board = pd.DataFrame([row(*pair, ["lung", "lesion"]) for pair in ROWS])
    board = board.astype({"tier": "Int64"})
    write_leaderboard(tmp_path, board, provenance)
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
    scores: pd.DataFrame, tests: pd.DataFrame, provenance: Provenance, tmp_path: Path
) -> None:
    dice = pd.DataFrame(
        [
            {"method": arm, "seed": 0, "subject": f"s{k}", "region": "lung", "value": value,
             "empty": ""}
            for arm, value in (("real", 0.5), ("real+good", 0.6), ("real+held-out", 0.7))
            for k in range(3)
        ]
    )  # fmt: skip
    methods = (*METHODS, Method("real+held-out", "pairs"))
    provenance = replace(provenance, methods=methods)
    board = summarise(scores, dice, tests, provenance)
    found = board.set_index("method")
    assert list(found.index) == ["real", "good", HOSTILE, "degraded", "real+held-out"]
    assert found["dice lung"].dropna().to_dict() == pytest.approx(
        {"real": 0.5, "good": 0.6, "real+held-out": 0.7}
    )
    assert found.loc["real+held-out", ["observations", "n_real", "n_synthetic"]].sum() == 0
    assert cells(board, ["method", "MM-FID", "Dice lung"], BOTH)[-1] == [
        "real+held-out",
        "–",
        "0.700",
    ]
    write_report(tmp_path / "report.html", board, scores, tests, {}, provenance)
    assert "ones whose masks belong to other images" in (tmp_path / "report.html").read_text()


CLASSES = ["background", "lung", "lesion"]


def trusting(**share: float) -> Network:
    return Network(["um2i", "v2um2i"], {"trusted_share": share, "trusted_right": {"all": 0.974}})


def test_trust_in_unlabelled_pixels_is_said_and_none_is_flagged() -> None:
    (plain,) = trust([trusting(**{"1": 0.7, "2": 0.3, "all": 0.62})], CLASSES)
    assert plain == "um2i, v2um2i: trusted share of unlabelled pixels 0.62, right 0.97."
    (one,) = trust([trusting(**{"1": 0.7, "2": 0.004, "all": 0.62})], CLASSES)
    assert one.endswith("right 0.97; next to none of lesion.")
    (nothing,) = trust([trusting(**{"1": 0.0, "2": 0.0, "all": 0.004})], CLASSES)
    assert nothing.endswith("; the unlabelled images taught it nothing.")
    assert trust([Network(["m2i"], {"perceptual": "vgg19"})], CLASSES) == []
    blind = Network(["a"], {"trusted_share": {"all": 0.5}, "trusted_right": None})
    assert trust([blind], CLASSES) == ["a: trusted share of unlabelled pixels 0.50."]


def test_notes_say_switches_superpixels_and_networks() -> None:
    generators: list[dict[str, Any]] = [
        {"id": "um2i", "name": "um2i"},
        {"id": "um2i", "name": "strict", "supervision": "supervised", "paired": False},
    ]
    settings: dict[str, Any] = {
        "generators": generators, "samples": 80, "labelled": 40, "training": {"preset": "quick"},
        "guidance": {"superpixels": "slic", "count": 128, "t": 50},
    }  # fmt: skip
    measured = {"superpixels_asked": 512.0, "superpixels_per_image": 431.4}
    facts = [{"perceptual": "efficientnet-lite0"}, {"perceptual": "none"}, {"config": {"psi": 0.7}}]
    networks = [Network(["um2i"], fact) for fact in facts]
    pairs = {"real+copies": 80, "real+held-out": 60, "real+shuffled": 60}
    methods = [Method("m2i", "generator", "m2i", "masks")]
    notes = notes_of(
        settings, methods, networks, CLASSES,
        superpixels=measured, annotators={"datasetgan": "segmenter"}, pairs=pairs,
    )  # fmt: skip
    assert notes == [
        "datasetgan: annotated by segmenter, not by a person.",
        "strict: um2i, paired = false, supervision = supervised.",
        "Guidance: slic, 128 superpixels per tile (512 per image asked, 431 returned), t = 50; "
        "truncation psi = 0.7; preset quick; label masks of up to 40 train images.",
        "Verdicts are about these trained networks: trained anew, with another seed, they may "
        "differ more than their images do.",
        "m2i: made from label masks of held-out images, which are annotations that the other rows "
        "do not use.",
        "real+held-out, real+shuffled: 60 pairs, all of the validation split; the other arms add "
        "80.",
        "Perceptual loss of the translators: efficientnet-lite0.",
    ]
    settings["guidance"] = {"superpixels": "none", "count": 128, "t": 0}
    settings["labelled"] = None
    notes = notes_of(
        settings, [], [], CLASSES, superpixels={}, annotators={}, pairs={"real+copies": 80}
    )
    assert notes[1].startswith(
        "Guidance: the image itself, t = 0; preset quick; label masks of all"
    )
    assert not [note for note in notes if "pairs" in note]


def test_the_reference_is_what_others_are_told_against(tests: pd.DataFrame) -> None:
    records = [{**tests.iloc[0].to_dict(), "a": "bad", "b": "good", "difference": 0.4}]
    fidelity, variety = BOTH
    said = against("good", records, fidelity, "resampling")
    assert said == ["MM-FID against good, Holm-adjusted: bad +0.400 (p 0.002)."]
    assert against("good", records, variety, "resampling") == []
    assert "(p 0.25)" in against("good", records, fidelity, "wilcoxon")[0]
