"""The command line: quick answers, one clear line for mistakes, the right exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def umbench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "umbench.cli.main", *arguments],
        text=True, capture_output=True, cwd=cwd, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["data", "--help"], ["run", "--nonsense"], ["rum"]]
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['umbench', *{arguments!r}]\n"
        "from umbench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'scipy', 'monai', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rum"], "did you mean 'run'?"),
        (["run", "quik"], "did you mean 'quick'?"),
        (["run", "quick", "--set", "guidanc.t=3"], "unknown key guidanc; did you mean 'guidance'?"),
        (["run", "quick", "--set", "samples=many"], "key samples"),
        (["run", "covid-slices"], "--data"),
        (["run", "covid-slices", "--data", "nowhere"], "nowhere"),
        (["data", "inspect", "nowhere"], "no such folder"),
        (["data", "import", ".", "--out", "x", "--preset", "nonsense"], "presets: covid-semiseg"),
    ],
)
def test_a_mistake_gives_one_line_and_status_2(
    arguments: list[str], expected: str, tmp_path: Path
) -> None:
    result = umbench(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if "Error" in line]) == 1


def test_lists_are_for_programs_too() -> None:
    rows = json.loads(umbench("generators", "list", "--json").stdout)
    assert {row["name"] for row in rows} >= {"m2i", "v2m2i", "um2i", "v2um2i", "datasetgan"}
    assert next(r for r in rows if r["name"] == "datasetgan")["annotator"] == "segmenter"
    rows = json.loads(umbench("metrics", "list", "--json").stdout)
    assert {row["name"]: row["tested"] for row in rows}.items() >= {
        "mm-fid": True, "coverage": False, "utility": True,
    }.items()  # fmt: skip
    rows = json.loads(umbench("extractors", "list", "--json").stdout)
    assert {row["name"] for row in rows} >= {"efficientnet-lite0", "inception-v3", "sex"}


def test_plan_says_what_is_missing_and_why(tmp_path: Path) -> None:
    result = umbench("plan", "quick", "--json", cwd=tmp_path)
    stages = json.loads(result.stdout)[0]["stages"]
    assert {stage["why"] for stage in stages} == {"never made"}
    assert not list(tmp_path.iterdir())


def test_the_phantom_can_be_written_and_inspected(tmp_path: Path) -> None:
    made = umbench("data", "phantom", "--subjects", "3", "--size", "64", "--out", "p", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    facts = json.loads(umbench("data", "inspect", "p", "--json", cwd=tmp_path).stdout)
    assert facts["images"] == 3
    assert facts["sex known"] == 3
