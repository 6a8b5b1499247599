"""Keys of real plans: an edit re-keys the stages that run what was edited, and no others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from umbench.engine.sources import closure
from umbench.pipeline import Plan
from umbench.stages.values import Board, Compare, Control, Extract, Guidance, Sample, Score, Segment
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

ROOT = Path(__file__).parent.parent.parent
SUITE = """\
name: tiny
data: {phantom: {subjects: 36, size: 64, seed: 3}}
splits: {train: 16, validation: 10, test: 10}
guidance: {superpixels: slic, count: 64, t: 50}
labelled: 8
generators: [m2i, v2m2i, um2i, v2um2i, {id: datasetgan, annotated: 4}]
training: {preset: quick, seeds: [0], scale: 0.02}
samples: 10
panel: {extractors: [efficientnet-lite0, sex, source], resolutions: [32, 64]}
metrics: [mm-fid, mm-std, utility]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    path = tmp_path_factory.mktemp("suite") / "tiny.yaml"
    path.write_text(SUITE)
    (suite,) = load_suites(str(path))
    return build_plan(suite)


@pytest.fixture(scope="module")
def users(plan: Plan) -> Callable[[str], set[str]]:
    """Labels of the stages whose closure holds a file."""

    def users(file: str) -> set[str]:
        found = {stage: closure(tuple(sorted(set(stage.sources)))).files for stage in plan.stages}
        return {plan.labels[stage] for stage, files in found.items() if file in files}

    return users


def of(plan: Plan, *classes: type, beginning: str = "") -> set[str]:
    """Labels of the stages of some classes."""
    return {
        label
        for stage, label in plan.labels.items()
        if isinstance(stage, classes) and label.startswith(beginning)
    }


def test_a_part_of_one_generator_counts_for_no_other(
    plan: Plan, users: Callable[[str], set[str]]
) -> None:
    """Each network's module is run by its own trainings, and by who is trained on or draws it."""
    package = "umbench_baselines/{}/train.py"
    own = {label.split(" annotated")[0] for label in users(package.format("datasetgan"))}
    assert own == {
        "train pixel-classifier", "untrained pixel-classifier", "sample datasetgan seed 0",
        "sample untrained datasetgan seed 0",
    }  # fmt: skip
    translated = users(package.format("translation"))
    assert {label.split(" seed")[0] for label in translated} == {
        "train g2-masks", "train g2-guidance", "untrained g2-masks", "untrained g2-guidance",
        *(f"sample {word}{name}" for word in ("", "untrained ")
          for name in ("m2i", "v2m2i", "um2i", "v2um2i")),
    }  # fmt: skip


def test_what_is_measured_and_shown_counts_for_no_training_and_no_features(
    plan: Plan, users: Callable[[str], set[str]]
) -> None:
    shows = of(plan, Compare, Board)
    assert users("umbench_metrics/mm_std.py") == {"score mm-std"} | shows
    assert users("umbench_metrics/registry.py") == of(plan, Score) | shows
    assert users("umbench_metrics/kid.py") == set()
    assert users("umbench/statistics/resampling.py") == {"compare", "utility"}
    assert users("umbench/leaderboard/templates/report.html.j2") == {"board"}
    assert users("umbench_metrics/overlap.py") == of(plan, Segment)
    own = {f"features {who}" for who in ("real", "degraded", "reference")}
    pretrained = users("umbench_metrics/extractors/efficientnet_lite0.py")
    assert {f"{name} efficientnet-lite0" for name in own} <= pretrained <= of(plan, Extract)
    assert not [label for label in pretrained if "sex" in label or "source" in label]
    assert users("umbench_baselines/guidance/unsupervised_mask.py") >= of(plan, Guidance)
    assert users("umbench_baselines/entries.py") == of(plan, Sample, Control)


@pytest.mark.parametrize("folder", ["suite", "cli", "engine", "store", "stages/values.py"])
def test_planning_making_and_showing_progress_count_for_nothing(plan: Plan, folder: str) -> None:
    for stage in plan.stages:
        files = closure(tuple(sorted(set(stage.sources)))).files
        assert not [name for name in files if name.startswith(f"umbench/{folder}")]


def test_edits_of_source_change_the_keys_that_they_should(tmp_path: Path) -> None:
    """As `umbench plan` tells: of a copy of the source, then edited, then with one metric more."""
    tree, suite = tmp_path / "tree", tmp_path / "tiny.yaml"
    for name in ("umbench", "baselines/umbench_baselines", "metrics/umbench_metrics"):
        shutil.copytree(ROOT / name, tree / Path(name).name)
    suite.write_text(SUITE)

    def keys() -> dict[str, str]:
        made = subprocess.run(
            [sys.executable, "-m", "umbench.cli.main", "plan", str(suite), "--json"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tree)},
            text=True, capture_output=True, check=True,
        )  # fmt: skip
        return {row["id"]: row["key"] for row in json.loads(made.stdout)[0]["stages"]}

    before = keys()
    with (tree / "umbench_baselines/datasetgan/train.py").open("a") as file:
        file.write("# a comment\n")
    after = keys()
    assert after.keys() == before.keys()
    changed = {label for label in after if after[label] != before[label]}
    for label in changed:
        several = label.startswith(
            ("score", "compare", "utility", "board", "features", "extractor source")
        )
        assert several or "datasetgan" in label or "pixel-classifier" in label, label
    trained = {label for label in changed if label.startswith(("train", "untrained"))}
    assert len(trained) == 2

    module = tree / "umbench_metrics/median.py"
    module.write_text(
        (tree / "umbench_metrics/mm_std.py").read_text().replace('"mm-std', '"median-std')
    )
    registry = tree / "umbench_metrics/registry.py"
    line = '    "mm-std": "umbench_metrics.mm_std:MMSTD",\n'
    assert line in registry.read_text()
    more = line + line.replace("mm-std", "median-std").replace("mm_std", "median")
    registry.write_text(registry.read_text().replace(line, more))
    suite.write_text(SUITE.replace("mm-std", "mm-std, median-std"))
    with_another = keys()
    assert with_another.keys() - after.keys() == {"score median-std"}
    changed = {label for label in after if with_another[label] != after[label]}
    assert changed == {"compare", "board"}
