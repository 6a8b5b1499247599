"""The examples of the README and of docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
MODULES = [
    "umbench_metrics.frechet",
    "umbench_metrics.variety",
    "umbench_metrics.extractors.task",
    "umbench_baselines.guidance.unsupervised_mask",
    "umbench_baselines.training",
    "umbench.leaderboard.tables",
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
