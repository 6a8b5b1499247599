"""The example package from outside: planned and run as built-ins are, killed, edited.

`pip install tests/plugins/umbench_example` installs it; tox does.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pandas as pd
import pytest

from umbench.engine import modules, sources
from umbench.engine.keys import stage_keys
from umbench.pipeline import Plan
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

ROOT = Path(__file__).parent.parent.parent
try:
    INSTALLED = distribution("umbench-example")
except PackageNotFoundError:
    if "TOX_ENV_NAME" in os.environ:
        raise
    pytest.skip("pip install tests/plugins/umbench_example", allow_module_level=True)

SUITE = """\
name: plugged
data: {phantom: {subjects: 36, size: 64, seed: 3}}
splits: {train: 16, validation: 10, test: 10}
guidance: {superpixels: watershed, count: 64, t: 50}
labelled: 8
generators: [um2i, {id: dreamer, width: 64}]
training: {preset: quick, seeds: [0], scale: 0.02}
samples: 10
panel: {extractors: [histogram, efficientnet-lite0], resolutions: [32]}
metrics: [mm-fid, mean-gap, utility]
controls: [real, degraded]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "plugged.yaml"
    path.write_text(SUITE)
    return path


def umbench(folder: Path, *arguments: object) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "umbench.cli.main", *map(str, arguments)],
        cwd=folder, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_a_suite_of_its_entries_is_planned_and_run(suite: Path, tmp_path: Path) -> None:
    (planned,) = json.loads(umbench(tmp_path, "plan", suite, "--json"))
    labels = {stage["id"] for stage in planned["stages"]}
    assert labels >= {
        "superpixels", "train dreamer width=64 seed 0", "sample dreamer seed 0", "score mean-gap",
        "segment real+dreamer seed 0", "features dreamer histogram seed 0",
    }  # fmt: skip
    umbench(tmp_path, "run", suite, "--quiet")
    run = tmp_path / "runs/plugged"
    scores = pd.read_csv(run / "scores.csv")
    gaps = scores[scores["metric"] == "mean-gap"].set_index(["method", "extractor"])["value"]
    methods, extractors = (
        ("um2i", "dreamer", "real", "degraded"),
        ("histogram", "efficientnet-lite0"),
    )
    assert set(gaps.index) == {(method, name) for method in methods for name in extractors}
    assert 0 < gaps["real", "histogram"] < gaps["dreamer", "histogram"]
    assert set(pd.read_csv(run / "dice.csv")["method"]) == {"real", "real+um2i", "real+dreamer"}
    assert "mean_gap" in pd.read_csv(run / "leaderboard.csv").columns
    assert "Mean gap: distance between mean features" in (run / "leaderboard.md").read_text()
    assert "watershed" in (run / "report.html").read_text()
    (planned,) = json.loads(umbench(tmp_path, "plan", suite, "--json"))
    assert all(stage["present"] for stage in planned["stages"])


PROGRAM = """
    import pickle
    import sys
    from functools import partial
    from pathlib import Path

    import umbench.stages.train as train
    from umbench.engine.engines import execute
    from umbench.pipeline import Plan
    from umbench.store import Store

    class Printing:
        def start(self, stages): pass
        def begin(self, label): pass
        def end(self, label): pass
        def say(self, text): pass
        def step(self, label, done, total, text):
            if label.startswith("train dreamer"):
                print(done, total, flush=True)

    if __name__ == "__main__":
        train.TrainingRun = partial(train.TrainingRun, checkpoint_seconds=0)
        stage = pickle.loads(Path(sys.argv[1]).read_bytes())
        entries = execute(Plan("one", stage), Store(Path(sys.argv[2])), Printing(), workers=1)
        print(entries[stage])
"""


def test_its_generator_is_killed_in_training_and_goes_on(suite: Path, tmp_path: Path) -> None:
    """Checkpoints are kept at every step, so that none is done twice but the last."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    (loaded,) = load_suites(str(suite), overrides=["training.scale=0.5"])
    (stage,) = [s for s, label in build_plan(loaded).labels.items() if "train dreamer" in label]
    (tmp_path / "stage").write_bytes(pickle.dumps(stage))

    def start(store: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, program, tmp_path / "stage", tmp_path / store],
            stdout=subprocess.PIPE,
            text=True,
        )

    undisturbed, _ = start("undisturbed").communicate()
    *steps, expected = undisturbed.splitlines()
    assert steps == [f"{done} 200" for done in range(1, 201)]
    killed = start("killed")
    assert killed.stdout is not None
    for line in killed.stdout:
        if line == "120 200\n":
            killed.send_signal(signal.SIGKILL)
            break
    killed.wait()
    (checkpoint,) = (tmp_path / "killed/scratch").glob("*/checkpoint.pt")
    assert checkpoint.stat().st_size
    went_on, _ = start("killed").communicate()
    *steps, found = went_on.splitlines()
    first = int(steps[0].split()[0])
    assert 120 <= first < 200
    assert steps == [f"{done} 200" for done in range(first, 201)]
    names = {path.name for path in Path(expected).iterdir()} - {"result.json", "tensorboard"}
    assert "model.safetensors" in names
    for name in names:
        assert (Path(found) / name).read_bytes() == (Path(expected) / name).read_bytes()


# Keys -------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the installed package, which is found first."""
    site, spec = Path(str(INSTALLED.locate_file(""))), modules.read_module("umbench_example")
    assert spec is not None
    assert spec.file is not None
    (info,) = site.glob("umbench_example-*.dist-info")
    shutil.copytree(spec.file.parent, tmp_path / "site/umbench_example")
    shutil.copytree(info, tmp_path / "site" / info.name)
    for name in [name for name in sys.modules if name.split(".")[0] == "umbench_example"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    forget()
    yield tmp_path / "site"
    forget()


def forget() -> None:
    for cached in (sources.closure, modules.read_module, sources.distribution_version):
        cached.cache_clear()
    importlib.invalidate_caches()


def tables(label: str) -> bool:
    """Whatever is computed for it, tables change."""
    return label.startswith(("score", "compare", "board"))


EDITS: dict[str, Callable[[str], bool]] = {
    "generator": lambda label: "dreamer" in label or label == "utility" or tables(label),
    "extractor": lambda label: "histogram" in label or tables(label),
    "superpixels": lambda label: (
        label in ("superpixels", "guidance", "utility")
        or "g2-" in label or "um2i" in label or tables(label)
    ),
    "metric": lambda label: label in ("score mean-gap", "compare", "board"),
    "": lambda label: label not in ("data", "split") and "control" not in label
    and not re.fullmatch(r"features \S+ efficientnet-lite0", label)
    and not re.fullmatch(r"segment real seed 0", label),
}  # fmt: skip


def test_an_edit_of_it_changes_its_own_keys_alone(suite: Path, copied: Path) -> None:
    """Of each module, and at last of its version, which all that it brings depends on."""
    (loaded,) = load_suites(str(suite))
    plan = build_plan(loaded)
    before = keys_of(plan)
    for edited, expected in EDITS.items():
        if edited:
            module = copied / "umbench_example" / f"{edited}.py"
            module.write_text(module.read_text() + "# a comment\n")
        else:
            (metadata,) = copied.glob("*.dist-info/METADATA")
            metadata.write_text(metadata.read_text().replace("Version: 0.1.0", "Version: 0.1.1"))
        forget()
        after = keys_of(plan)
        changed = {label for label in after if after[label] != before[label]}
        assert changed == {label for label in after if expected(label)}, edited
        before = after


def keys_of(plan: Plan) -> dict[str, str]:
    return {plan.labels[stage]: key for stage, key in stage_keys(plan).items()}


def test_the_source_does_not_name_it() -> None:
    names = ("umbench_example", "umbench-example", "dreamer", "mean-gap")
    for folder in ("umbench", "baselines", "metrics", "suites"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".j2"):
                assert not [name for name in names if name in path.read_text()], path
