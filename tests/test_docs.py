"""The examples of the README and of docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
MODULES = [
    "umbench_metrics.extractors",
    "umbench_metrics.extractors.age",
    "umbench_metrics.extractors.task",
    "umbench_metrics.frechet",
    "umbench_metrics.kid",
    "umbench_metrics.manifold",
    "umbench_metrics.metric",
    "umbench_metrics.mm_std",
    "umbench_metrics.overlap",
    "umbench_metrics.panel",
    "umbench_metrics.plugins",
    "umbench_baselines.guidance.unsupervised_mask",
    "umbench_baselines.training",
    "umbench.leaderboard.report",
    "umbench.leaderboard.tables",
    "umbench.leaderboard.terminal",
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_pages(path: Path) -> None:
    assert not doctest.testfile(str(path), module_relative=False).failed


def test_every_picture_of_the_readme_is_there() -> None:
    import re

    for name in re.findall(r"\]\((docs/[^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).is_file(), name


def test_the_page_on_plug_ins_shows_the_example_as_it_is() -> None:
    import re

    text = (ROOT / "docs/plugins.md").read_text()
    shown = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    example = ROOT / "tests/plugins/umbench_example"
    modules = {path for path in example.rglob("*.py") if path.name != "__init__.py"}
    files = {path.relative_to(example).as_posix() for path in modules}
    assert shown.keys() == {*files, "pyproject.toml"}
    for name, code in shown.items():
        assert code == (example / name).read_text(), name
