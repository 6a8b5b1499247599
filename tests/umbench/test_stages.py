"""What stages do between the packages: which images, which scales, which notes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from umbench_metrics.metric import Shown, Span, can_be_resampled
from umbench_metrics.panel import ExtractorFacts, Features, View
from umbench_metrics.registry import get

from umbench.errors import InputError
from umbench.leaderboard.provenance import Method
from umbench.pipeline import Context
from umbench.stages import compare
from umbench.stages.artifacts import SplitTable
from umbench.stages.compare import pair_seed, paired_sightings
from umbench.stages.observations import Observation
from umbench.stages.sample import condition_rows
from umbench.stages.utility import dice_tests
from umbench.stages.values import Compare, Comparison, Extract, Folder, Score, Seen
from umbench.statistics.table import note


@pytest.fixture
def split() -> SplitTable:
    """Rows 0-3 train (0 and 1 labelled), 4-8 validation of two subjects, 9 test."""
    return SplitTable(
        split=np.array(["train"] * 4 + ["validation"] * 5 + ["test"]),
        labelled=np.array([True, True] + [False] * 8),
        subject=np.array(["a", "b", "c", "d", "v", "v", "v", "w", "w", "t"]),
    )


def test_every_subject_is_shown_once_before_any_twice(split: SplitTable) -> None:
    assert split.spread(split.rows("validation")).tolist() == [4, 7, 5, 8, 6]


def test_label_masks_of_unlabelled_train_images_condition_nothing(split: SplitTable) -> None:
    by_guidance = condition_rows(split, 9, "um2i", masks=False)
    assert by_guidance.tolist() == [4, 7, 5, 8, 6, 0, 1, 2, 3]
    assert condition_rows(split, 7, "m2i", masks=True).tolist() == [4, 7, 5, 8, 6, 0, 1]
    with pytest.raises(InputError, match="samples: 8 asked of m2i"):
        condition_rows(split, 8, "m2i", masks=True)


def planted(extractor: str, seed: int, method: str = "a") -> Observation:
    """Ten images in four features."""
    made = np.random.default_rng(seed).normal(size=(2, 10, 4))
    facts = ExtractorFacts(extractor, "planted", 4, "0")
    real, synthetic = (
        Features(View(extractor, 64), (values,), (np.arange(10),), facts) for values in made
    )
    return Observation(Method(method, "generator"), 0, real, synthetic)


def scores(values: dict[str, list[float]]) -> pd.DataFrame:
    """One Fréchet distance per method and observation, and what follows from them."""
    raw = pd.DataFrame(
        [
            {"method": m, "seed": 0, "extractor": f"e{k}", "resolution": 64,
             "metric": "frechet-distance", "value": v, "low": 0.0, "high": 0.0}
            for m, row in values.items() for k, v in enumerate(row)
        ]
    )  # fmt: skip
    generators = [m for m in values if m not in ("real", "degraded")]
    scaled = get("mm-fid").scaled(raw, Span(generators, "anchored"))
    return pd.concat([raw, *scaled.tables], ignore_index=True)


VALUES = {"real": [1.0, 2.0], "degraded": [11.0, 4.0], "a": [6.0, 3.0], "b": [3.0, 2.5]}


def test_pair_tests_use_the_observations_that_are_left() -> None:
    table = scores({**VALUES, "degraded": [11.0, 1.0]})
    a, b = ([planted(f"e{k}", seed + k) for k in range(2)] for seed in (1, 5))
    metric = get("mm-fid")
    assert can_be_resampled(metric)
    (left,) = paired_sightings(a, b, table, metric, Shown("mm-fid", "mm-fid-anchored", "anchored"))
    assert left.scale == 10.0
    assert left.a[0] is a[0].synthetic.folds[0]
    both = paired_sightings(a, b, table, metric, Shown("mm-fid", "mm-fid-minmax", "minmax"))
    assert len(both) == 2


def compared(folder: Path, monkeypatch: pytest.MonkeyPatch, reference: str | None) -> pd.DataFrame:
    """tests.csv of three generators on planted features."""
    names = ["a", "b", "c"]
    scores({**VALUES, "c": [7.0, 3.5]}).assign(flag="").to_csv(folder / "scores.csv", index=False)
    panels = {
        (n, 0): [planted(f"e{k}", 7 * i + k, n) for k in range(2)] for i, n in enumerate(names)
    }
    monkeypatch.setattr(compare, "read_observations", lambda folder, seen: panels)
    data = Folder("", "")
    features = Extract("e0", None, "", data, (), (64,), None, None, who="")
    seen = tuple(Seen(Method(n, "generator"), 0, features, features) for n in names)
    score = Score("mm-fid", "anchored", seen)
    stage = Compare((score,), score.seen, reference, Comparison(19, 0.05))
    compare.run(Context(stage, {score: folder}, folder, folder))
    return pd.read_csv(folder / "tests.csv")


def test_comparisons_with_the_reference_come_first_and_are_no_other_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = compared(tmp_path, monkeypatch, None)
    assert list(zip(plain["a"], plain["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    against = compared(tmp_path, monkeypatch, "b")
    assert list(zip(against["a"], against["b"], strict=True)) == [
        ("a", "b"), ("c", "b"), ("a", "c")
    ]  # fmt: skip
    assert against.loc[1, "difference"] == -plain.loc[2, "difference"] != 0
    assert against.loc[1, "effect"] == -plain.loc[2, "effect"]
    for column in ("p", "p_holm", "p_resampling", "p_resampling_holm"):
        assert against.loc[1, column] == plain.loc[2, column], column


def test_controls_of_the_utility_take_nothing_from_the_generators_tests() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"subject": f"s{k}", "region": "lung", "method": m, "value": rng.random(), "empty": ""}
        for m in ("real", "real+a", "real+copies") for k in range(8)
    ]  # fmt: skip
    tests = Comparison(19, 0.05)
    found = dice_tests(pd.DataFrame(rows), tests, ["real+copies"])
    families = {row["a"]: row["family"] for row in found}
    assert families == {
        "real+a": "each arm against real", "real+copies": "each control against real"
    }  # fmt: skip


def test_a_verdict_that_cannot_be_reached_is_named() -> None:
    row = SimpleNamespace(smallest_p=0.0078, permutations=99, note="")
    assert note(row, 10, 0.05) == (
        "Wilcoxon cannot reach alpha with so few pairs; "
        "resampling cannot reach alpha with so few permutations"
    )
    assert note(SimpleNamespace(smallest_p=1e-4, permutations=499, note=""), 10, 0.05) == ""


def test_a_pair_keeps_its_random_numbers_whatever_else_is_compared() -> None:
    assert pair_seed("a", "b", "m") == pair_seed("a", "b", "m")
    assert pair_seed("a", "b", "m") != pair_seed("a", "c", "m")
