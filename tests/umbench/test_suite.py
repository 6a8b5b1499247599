"""Suites: what is read, and what is refused with one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbench.errors import InputError
from umbench.suite.loader import load_suites, shipped

GOOD = """\
name: x
data: {phantom: {subjects: 20, size: 64}}
splits: {train: 10, validation: 5, test: 5}
generators: [m2i]
samples: 5
panel: {extractors: [sex], resolutions: [64]}
metrics: [mm-fid]
"""


@pytest.mark.parametrize("name", shipped())
def test_shipped_suites_are_valid(name: str, tmp_path: Path) -> None:
    assert load_suites(name, data=tmp_path if name == "covid-slices" else None)


def test_matrix_is_one_arm_per_value() -> None:
    arms = load_suites("ablation-t")
    assert [arm.guidance.t for arm in arms] == [0, 10, 50, 100]
    assert len({arm.name for arm in arms}) == 4


def test_set_overrides_one_key() -> None:
    assert load_suites("quick", overrides=("guidance.t=10",))[0].guidance.t == 10


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sampels: 5", "suite.yaml:8:1: unknown key sampels; did you mean 'samples'?"),
        ("samples: 6", "suite.yaml:8:1: duplicate key samples"),
        ("labelled: many", "suite.yaml:8:1: key labelled: "),
        ("controls: [reel]", "key controls.0: "),
        ("training: {scale: .nan}", "key training.scale: "),
        ("statistics: {reference: um2i}", "key statistics.reference: 'um2i' is none of"),
        ("guidance: {t: 300}", "suite.yaml:8:12: key guidance.t: "),
        ("guidance: {tt: 3}", "unknown key guidance.tt"),
        ("a: [", "suite.yaml:9:1: "),
        ("include: suite.yaml", "the file includes itself"),
        ("include: nowhere.yaml", "no file"),
        ("matrix: {guidance.t: 3}", "key matrix"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(f"{GOOD}{line}\n")
    with pytest.raises(InputError) as caught:
        load_suites(str(path))
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_unknown_names_show_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(GOOD.replace("[m2i]", "[m2j]"))
    with pytest.raises(InputError, match="no 'm2j'; did you mean 'm2i'"):
        load_suites(str(path))
    with pytest.raises(InputError, match="did you mean 'quick'"):
        load_suites("quik")


def test_data_must_be_given_where_the_suite_asks_for_it() -> None:
    with pytest.raises(InputError, match="--data"):
        load_suites("covid-slices")
