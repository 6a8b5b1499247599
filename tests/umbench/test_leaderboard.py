"""The leaderboard: tiers, deterministic bytes, escaped names, nothing from elsewhere."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from umbench.leaderboard.pictures import overlay, png, sample_grid
from umbench.leaderboard.plots import box_plot
from umbench.leaderboard.report import write_report
from umbench.leaderboard.tables import summarise, tiers, write_leaderboard
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
        "suite": "s", "normalisation": "anchored", "verdict": "resampling", "alpha": 0.05,
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
    pictures = {HOSTILE: png(np.zeros((4, 4, 3), np.uint8))}
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
    assert sample_grid(np.zeros((2, 8, 8)), None).startswith(b"\x89PNG")
