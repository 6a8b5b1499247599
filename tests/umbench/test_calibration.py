"""The A/A check of benchmarks/calibration.py, on planted features and a planted store."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from umbench_metrics.panel import ExtractorFacts

from umbench.engine.keys import stage_keys
from umbench.pipeline import Context, Plan, Stage
from umbench.stages import scores
from umbench.stages.artifacts import FACTS, save_arrays, save_json
from umbench.stages.values import Board, Extract, Score
from umbench.statistics.resampling import Sighting
from umbench.store import Store
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

SCRIPT = Path(__file__).parents[2] / "benchmarks/calibration.py"
N, DIM = 42, 12
SUITE = """\
name: planted
data: {phantom: {subjects: 36, size: 64}}
splits: {train: 16, validation: 10, test: 10}
generators: [m2i, um2i]
training: {seeds: [0, 1]}
samples: 10
panel: {extractors: [sex, source], resolutions: [32, 64]}
metrics: [mm-fid, mm-std]
controls: [real, degraded]
"""


@pytest.fixture(scope="module")
def calibration() -> Any:
    spec = importlib.util.spec_from_file_location("calibration", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def pool(seed: int, group: int = 0) -> list[Sighting]:
    """One generator's images in 8 observations much alike; the last two are cross-fitted."""
    generator = np.random.default_rng(seed)
    real, made = generator.normal(size=(N, 6)), generator.normal(size=(N, 6))
    folds = [np.arange(N)[k::2] for k in range(2)]
    out = []
    for number in range(4):
        network = generator.normal(size=(6, DIM))
        for _ in range(2):
            r, m = (z @ network + 0.3 * generator.normal(size=(N, DIM)) for z in (real, made))
            seen = [m[rows] for rows in folds] if number == 3 else [m]
            rows = folds if number == 3 else [np.arange(N)]
            out.append(Sighting([r] * len(seen), seen, seen, 2.0, rows, group))
    return out


def test_resampling_holds_its_level_where_wilcoxon_does_not(calibration: Any) -> None:
    draws = 40
    pools = {"mm-fid": pool(1), "mm-std": pool(1)}
    rates = calibration.rejection_rates(pools, draws=draws, permutations=39, seed=0)
    found = {(rate.metric, rate.test): rate for rate in rates}
    most = binom.ppf(0.999, draws, calibration.LEVEL)
    for metric in pools:
        assert found[metric, calibration.RESAMPLING].rejections <= most
        assert found[metric, calibration.PAPER].document()["low"] > calibration.LEVEL
    again = calibration.rejection_rates(pools, draws=2, permutations=19, seed=0)
    assert again == calibration.rejection_rates(pools, draws=2, permutations=19, seed=0)


@pytest.mark.parametrize("metric", ["mm-fid", "mm-std"])
def test_finds_a_planted_difference(calibration: Any, metric: str) -> None:
    first = np.concatenate([np.arange(N)[0::4], np.arange(N)[1::4]])[:20]
    second = np.concatenate([np.arange(N)[2::4], np.arange(N)[3::4]])[:20]
    halves = [calibration.halved(s, first, second) for s in pool(2)]
    changed = [replace(s, b=[2 * fold + 1 for fold in s.b]) for s in halves]
    tested = calibration.p_values(metric, changed, permutations=99, seed=0)
    assert tested == {calibration.RESAMPLING: 1 / 100, calibration.PAPER: 2 / 2**8}


def test_halves_hold_the_same_images_in_every_observation(calibration: Any) -> None:
    numbered = [
        replace(s, a=[np.array(rows, dtype=float)[:, None] for rows in s.numbers()])
        for s in [*pool(3), *pool(4, group=1)]
    ]
    halves = calibration.split(numbered, np.random.default_rng(0))
    assert set(halves) == {0, 1}
    for sighting in numbered:
        first, second = halves[sighting.group]
        assert len(first) == len(second) == 20  # 21 images of a fold: one is left out
        assert not set(first) & set(second)
        half = calibration.halved(sighting, first, second)
        for side, images in ((half.a, first), (half.b, second)):
            for features, rows in zip(side, half.numbers(), strict=True):
                assert np.array_equal(features[:, 0], images[rows])


def test_scores_are_means_over_training_seeds(calibration: Any) -> None:
    sightings = [*pool(5), *pool(6, group=1)]
    x, y = calibration.scored("mm-fid", sightings)
    assert x.shape == (8,) and np.array_equal(x, y)
    one, other = (calibration.scored("mm-fid", pool(k))[0] for k in (5, 6))
    assert x == pytest.approx((one + other) / 2)


def stored(plan: Plan, store: Store) -> Mapping[Stage, str]:
    """Planted features for all sets of a plan, and the scores that follow from them."""
    keys = stage_keys(plan)
    generator = np.random.default_rng(0)

    def features(stage: Extract, folder: Path) -> dict[str, Any]:
        folds = max(1, len(stage.networks))
        apart = folds == 2 and not stage.reference
        arrays = {}
        for fold in range(folds):
            rows = np.arange(10)[fold::2] if apart else np.arange(10)
            arrays[f"rows/{fold}"] = rows
            for resolution in stage.resolutions:
                values = generator.normal(size=(len(rows), DIM)) + 3 * ("degraded" in stage.who)
                arrays[f"{resolution}/{fold}"] = values.astype(np.float32)
        save_arrays(folder, **arrays)
        facts = ExtractorFacts("planted", "", DIM, "0").document()
        save_json(folder / FACTS, [facts] * folds)
        return {}

    def scored(stage: Score, folder: Path) -> dict[str, Any]:
        folders = {input: store.root / "entries" / keys[input] for input in stage.inputs.values()}
        scores.run(Context(stage, folders, folder, folder))
        return {}

    store.prepare()
    for stage in plan.stages:
        if isinstance(stage, Extract):
            store.write(keys[stage], partial(features, stage), {})
        elif isinstance(stage, Score):
            store.write(keys[stage], partial(scored, stage), {})
    return keys


def test_reads_a_finished_run(
    calibration: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    suite, store = tmp_path / "planted.yaml", Store(tmp_path / "store")
    suite.write_text(SUITE)
    arguments = ["calibration.py", str(suite), "--store", str(store.root), "--json"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--draws", "3", "--permutations", "19"])

    with pytest.raises(SystemExit) as stop:
        calibration.main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: planted: no finished run in ") and error.count("\n") == 1

    (arm,) = load_suites(str(suite))
    keys = stored(build_plan(arm), store)
    with pytest.raises(SystemExit) as stop:
        calibration.main()
    assert not stop.value.code
    document = json.loads(capsys.readouterr().out)
    assert document["images_per_half"] == 4  # folds of five images
    assert (document["observations"], document["training_seeds"]) == (4, [0, 1])
    assert document["scale"] == "anchored"
    assert [rate["draws"] for rate in document["rates"]] == [3] * 4

    run = calibration.finished_run(arm, store, "um2i", None, quiet=True)
    (score, _) = run.scores
    table = pd.read_csv(store.root / "entries" / keys[score] / "scores.csv")
    chosen = table[(table["metric"] == "frechet-distance") & (table["seed"] == 1)]
    values = chosen.pivot(index=["extractor", "resolution"], columns="method", values="value")
    scales = [s.scale for s in calibration.pools_of(run)["mm-fid"] if s.group == 1]
    assert scales == pytest.approx(list(values["degraded"] - values["real"]))


def test_more_images_come_from_the_trained_parts(calibration: Any, tmp_path: Path) -> None:
    (tmp_path / "planted.yaml").write_text(SUITE)
    (arm,) = load_suites(str(tmp_path / "planted.yaml"))
    plan = build_plan(arm)
    assert isinstance(plan.final, Board)
    for seen in calibration.as_seen(plan.final.scores[0], "um2i"):
        larger = calibration.enlarged(seen, 20)
        assert (larger.synthetic.count, larger.synthetic.images.count) == (20, 20)
        assert larger.synthetic.images.networks == seen.synthetic.images.networks
        assert larger.synthetic.networks == seen.synthetic.networks
        assert larger.real == seen.real
