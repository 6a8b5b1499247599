"""The whole path at a small size: run, resume, determinism, kills, two runs at once."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

SUITE = """\
name: tiny
data: {phantom: {subjects: 36, size: 64, seed: 3}}
splits: {train: 16, validation: 10, test: 10}
guidance: {superpixels: slic, count: 64, t: 50}
labelled: 8
generators: [m2i, v2m2i, um2i, v2um2i, {id: datasetgan, annotated: 4}]
training: {preset: quick, seeds: [0], scale: 0.02}
samples: 10
panel: {extractors: [efficientnet-lite0, sex, age, source], resolutions: [32, 64]}
metrics: [mm-fid, mm-std, utility]
controls: [real, degraded, untrained]
statistics: {reference: v2m2i, permutations: 99}
"""
ENTRIES = ["m2i", "v2m2i", "um2i", "v2um2i", "datasetgan"]


def command(suite: Path, folder: Path, store: str = "store") -> list[str]:
    return [
        sys.executable, "-m", "umbench.cli.main", "run", str(suite), "--quiet",
        "--store", str(folder / store), "--out", str(folder / "runs"),
    ]  # fmt: skip


def umbench(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, text=True, capture_output=True, check=False)


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def finished(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    result = umbench(command(suite, folder), folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_ends_in_a_leaderboard_of_all_entries_and_controls(finished: Path) -> None:
    board = pd.read_csv(finished / "runs/tiny/leaderboard.csv")
    expected = {*ENTRIES, *(f"{e} untrained" for e in ENTRIES), "real", "degraded"}
    assert set(board["method"]) == expected
    for name in ("report.html", "leaderboard.json", "leaderboard.md", "scores.csv", "dice.csv",
                 "tests.csv", "suite.yaml", "environment.json", "run.log"):  # fmt: skip
        assert (finished / "runs/tiny" / name).stat().st_size > 0, name
    assert list((finished / "runs/tiny/pictures").glob("*.png"))


def test_every_score_says_what_it_was_computed_from(finished: Path) -> None:
    scores = pd.read_csv(finished / "runs/tiny/scores.csv")
    assert (scores["n_real"] == 10).all()
    assert (scores["n_synthetic"] == 10).all()
    assert scores["fingerprint"].notna().all()
    raw = scores[scores["metric"] == "frechet-distance"]
    assert len(raw) == 12 * 4 * 2
    assert (raw["value"] >= 0).all()


def test_anchors_are_zero_and_one(finished: Path) -> None:
    scores = pd.read_csv(finished / "runs/tiny/scores.csv")
    anchored = scores[scores["metric"] == "mm-fid-anchored"]
    assert anchored.loc[anchored["method"] == "real", "value"].abs().max() < 1e-9
    assert (anchored.loc[anchored["method"] == "degraded", "value"] - 1).abs().max() < 1e-9


def test_running_again_trains_nothing_and_is_quick(suite: Path, finished: Path) -> None:
    before = tables(finished / "runs/tiny")
    entries = {p: p.stat().st_mtime_ns for p in (finished / "store").rglob("result.json")}
    result = umbench(command(suite, finished), finished)
    assert result.returncode == 0, result.stderr
    assert {p: p.stat().st_mtime_ns for p in (finished / "store").rglob("result.json")} == entries
    assert tables(finished / "runs/tiny") == before


def test_killed_at_random_moments_it_ends_with_the_same_tables(
    suite: Path, finished: Path, tmp_path: Path
) -> None:
    moments = random.Random(5)
    for _ in range(int(os.environ.get("UMBENCH_TEST_KILLS", "4"))):
        run = subprocess.Popen(
            command(suite, tmp_path), cwd=tmp_path, stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(moments.uniform(4, 14))
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    result = umbench(command(suite, tmp_path), tmp_path)
    assert result.returncode == 0, result.stderr
    assert tables(tmp_path / "runs/tiny") == tables(finished / "runs/tiny")


def test_two_runs_at_once_on_one_store_end_right(
    suite: Path, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    runs = []
    for name in ("a", "b"):
        arguments = command(suite, tmp_path / name)
        arguments[arguments.index("--store") + 1] = str(tmp_path / "store")
        runs.append(subprocess.Popen(arguments, cwd=tmp_path / name, stderr=subprocess.PIPE))
    for run in runs:
        _, error = run.communicate(timeout=600)
        assert run.returncode == 0, error.decode()
    for name in ("a", "b"):
        assert tables(tmp_path / name / "runs/tiny") == tables(finished / "runs/tiny")


def test_results_name_their_stage(finished: Path) -> None:
    for path in (finished / "store").rglob("result.json"):
        facts = json.loads(path.read_text())
        named = {"id", "stage", "params", "inputs", "sources", "code", "libraries", "seconds"}
        assert named <= set(facts), path


def test_a_flipped_byte_in_any_entry_is_found_and_mended(
    suite: Path, finished: Path, tmp_path: Path
) -> None:
    """One entry or more of each class of stage, all at once, down from the board's own table.

    Each is an input of another that is broken, so all are read; whatever was not noticed would
    reach a table, the board's at once.
    """
    shutil.copytree(finished / "store", tmp_path / "store")
    entries = facts_of(tmp_path / "store")
    chosen = one_of_each_class(entries)
    assert {entries[key]["stage"] for key in chosen} == {e["stage"] for e in entries.values()}
    flipped = {key: flip(tmp_path / "store/entries" / key) for key in chosen}
    result = umbench(command(suite, tmp_path), tmp_path)
    assert result.returncode == 0, result.stderr
    assert tables(tmp_path / "runs/tiny") == tables(finished / "runs/tiny")
    log = (tmp_path / "runs/tiny/run.log").read_text()
    for key, name in flipped.items():
        assert f"{entries[key]['id']}: {name} is not as it was written" in log
    aside = [path.name.split(".")[0] for path in (tmp_path / "store/broken").iterdir()]
    assert sorted(aside) == sorted(flipped)
    mended = facts_of(tmp_path / "store")
    assert {key: e["files"] for key, e in mended.items()} == {
        key: e["files"] for key, e in entries.items()
    }


def facts_of(store: Path) -> dict[str, dict[str, Any]]:
    paths = (store / "entries").glob("*/result.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def one_of_each_class(entries: dict[str, dict[str, Any]]) -> list[str]:
    """Keys of the board, and of all on a way down from it to one entry of each class."""
    (board,) = [key for key, facts in entries.items() if facts["stage"].endswith(".Board")]
    above: dict[str, str] = {board: board}
    for key in (queue := [board]):
        for _, input in sorted(entries[key]["inputs"].items()):
            if input not in above:
                above[input] = key
                queue.append(input)
    chosen = {board}
    for key in {entries[key]["stage"]: key for key in reversed(queue)}.values():
        while key not in chosen:
            chosen.add(key)
            key = above[key]
    return sorted(chosen)


def flip(entry: Path) -> str:
    """Change one bit in the middle of an entry's largest table, or file where it has none."""
    listed = json.loads((entry / "result.json").read_text())["files"]
    name = max(listed, key=lambda name: (name.endswith(".csv"), listed[name]["bytes"]))
    data = bytearray((entry / name).read_bytes())
    data[len(data) // 2] ^= 1
    (entry / name).write_bytes(data)
    return str(name)
