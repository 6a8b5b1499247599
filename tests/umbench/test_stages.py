"""What stages do between the packages: which images, which scales, which notes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from umbench.errors import InputError
from umbench.pipeline import Context, Stage
from umbench.stages import compare
from umbench.stages.artifacts import SplitTable
from umbench.stages.compare import _dice_tests, _note, _seed, _sightings, scale_name
from umbench.stages.sample import condition_rows
from umbench.stages.scores import FRECHET, Observation, _normalised, _over_seeds, _relative


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


def scores(values: dict[str, list[float]], metric: str) -> pd.DataFrame:
    """One value per method and observation."""
    return pd.DataFrame(
        [
            {"method": m, "seed": 0, "extractor": f"e{k}", "resolution": 64, "metric": metric,
             "value": v, "low": 0.0, "high": 0.0}
            for m, row in values.items() for k, v in enumerate(row)
        ]
    )  # fmt: skip


def test_variety_is_relative_to_real_in_every_observation() -> None:
    table = scores({"real": [100.0, 0.1], "a": [50.0, 0.2], "b": [100.0, 0.1]}, "mm-std")
    found = _relative(table).set_index("method")["value"]
    assert found.loc["a"].tolist() == [0.5, 2.0]
    assert found.loc["real"].tolist() == [1.0, 1.0]
    alone = _relative(table[table["method"] != "real"]).set_index("method")["value"]
    np.testing.assert_allclose(alone.loc["a"], [50 / 75, 0.2 / 0.15])


def scale(parts: list[pd.DataFrame], name: str) -> pd.DataFrame:
    """Method x observation of one scale."""
    table = pd.concat(parts)
    return table[table["metric"] == f"mm-fid-{name}"].pivot(
        index="method", columns="extractor", values="value"
    )


VALUES = {"real": [1.0, 2.0], "degraded": [11.0, 4.0], "a": [6.0, 3.0], "b": [3.0, 2.5]}


def test_minmax_is_spanned_by_the_generators_alone() -> None:
    parts, _ = _normalised(scores(VALUES, FRECHET), ["a", "b"])
    found = scale(parts, "minmax")
    assert found.loc["a"].tolist() == [1, 1]
    assert found.loc["b"].tolist() == [0, 0]
    assert found.loc["degraded"].tolist() == pytest.approx([8 / 3, 3])
    assert found.loc["real"].tolist() == pytest.approx([-2 / 3, -1])
    worse, _ = _normalised(scores({**VALUES, "degraded": [99.0, 99.0]}, FRECHET), ["a", "b"])
    assert scale(worse, "minmax").drop("degraded").equals(found.drop("degraded"))


def test_a_scale_of_one_generator_says_nothing_of_controls() -> None:
    parts, _ = _normalised(
        scores({k: VALUES[k] for k in ("real", "degraded", "a")}, FRECHET), ["a"]
    )
    found = scale(parts, "minmax")
    assert found.loc["a"].tolist() == [0, 0]
    assert found.loc[["real", "degraded"]].isna().all(axis=None)


def test_an_observation_without_anchors_is_set_aside_with_its_reason() -> None:
    parts, left_out = _normalised(scores(VALUES, FRECHET), ["a", "b"])
    assert scale(parts, "anchored").loc["a"].tolist() == [0.5, 0.5]
    assert left_out == {"anchored": []}
    upside_down = {**VALUES, "degraded": [11.0, 1.0]}
    parts, left_out = _normalised(scores(upside_down, FRECHET), ["a", "b"])
    assert scale(parts, "anchored").loc["a"].tolist() == [0.5]
    assert scale(parts, "minmax").loc["a"].tolist() == [1, 1]
    (item,) = left_out["anchored"]
    assert item["what"] == "e1@64"
    assert item["why"].startswith("degraded scores 1 there, not above real's 2")


def test_it_is_set_aside_at_every_seed() -> None:
    first, second = scores(VALUES, FRECHET), scores({**VALUES, "degraded": [11.0, 1.0]}, FRECHET)
    parts, left_out = _normalised(pd.concat([first, second.assign(seed=1)]), ["a", "b"])
    table = pd.concat(parts)
    anchored = table[table["metric"] == "mm-fid-anchored"]
    assert set(zip(anchored["extractor"], anchored["seed"], strict=True)) == {("e0", 0), ("e0", 1)}
    assert [item["what"] for item in left_out["anchored"]] == ["e1@64"]


def test_where_no_observation_has_anchors_the_board_falls_back_to_minmax() -> None:
    nowhere = {**VALUES, "degraded": [0.0, 1.0]}
    table = scores(nowhere, FRECHET)
    parts, left_out = _normalised(table, ["a", "b"])
    everything = pd.concat([table, *parts])
    assert len(left_out["anchored"]) == 2
    assert scale_name(everything, {"normalisation": "anchored"}) == "minmax"
    assert scale_name(everything, {"normalisation": "l2-rows"}) == "l2-rows"


def observation(extractor: str, seed: int) -> Observation:
    """Ten images in four features."""
    made, facts = np.random.default_rng(seed).normal(size=(2, 10, 4)), {"fingerprint": "0"}
    return Observation(extractor, 64, [made[0]], [made[1]], [np.arange(10)], facts)


def test_pair_tests_use_the_observations_that_are_left() -> None:
    table = scores({**VALUES, "degraded": [11.0, 1.0]}, FRECHET)
    everything = pd.concat([table, *_normalised(table, ["a", "b"])[0]])
    a, b = ([observation(f"e{k}", seed + k) for k in range(2)] for seed in (1, 5))
    settings = {"normalisation": "anchored"}
    (left,) = _sightings(a, b, everything, 0, FRECHET, settings)
    assert left.scale == 10.0
    assert left.a[0] is a[0].synthetic[0]
    both = _sightings(a, b, everything, 0, FRECHET, {"normalisation": "minmax"})
    assert len(both) == 2


def compared(folder: Path, monkeypatch: pytest.MonkeyPatch, reference: str | None) -> pd.DataFrame:
    """tests.csv of three generators on planted features."""
    names = ["a", "b", "c"]
    table = scores({**VALUES, "c": [7.0, 3.5]}, FRECHET)
    table = pd.concat([table, *_normalised(table, names)[0]])
    (folder / "scores.csv").write_text(table.to_csv(index=False))
    panels = {(n, 0): [observation(f"e{k}", 7 * i + k) for k in range(2)]
              for i, n in enumerate(names)}  # fmt: skip
    monkeypatch.setattr(compare, "read_observations", lambda context: panels)
    statistics = {
        "reference": reference, "verdict": "resampling", "permutations": 19, "alpha": 0.05,
        "normalisation": "anchored",
    }  # fmt: skip
    methods = [{"name": n, "seed": 0, "kind": "generator", "conditions": None} for n in names]
    params: dict[str, Any] = {
        "methods": methods, "statistics": statistics, "seeds": [0], "metrics": ["mm-fid"],
        "pairs": {},
    }  # fmt: skip
    stage = Stage("compare", "compare", params)
    compare.run(Context(stage, {"scores": folder}, folder, folder, lambda *_: None))
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
    dice, settings = pd.DataFrame(rows), {"permutations": 19}
    families = {row["a"]: row["family"] for row in _dice_tests(dice, settings, ["real+copies"])}
    assert families == {
        "real+a": "each arm against real", "real+copies": "each control against real"
    }  # fmt: skip


def test_no_seed_loses_its_flag() -> None:
    first = {"fingerprint": "a", "flag": "no better than chance", "accuracy": 0.2}
    second = {"fingerprint": "b", "flag": "", "accuracy": 0.8}
    merged = _over_seeds([first, first, second])
    assert merged["flag"] == "no better than chance"
    assert merged["accuracy"] == 0.5
    assert _over_seeds([second, second]) == second


def test_a_verdict_that_cannot_be_reached_is_named() -> None:
    row = SimpleNamespace(smallest_p=0.0078, permutations=99, note="")
    assert _note(row, 10, 0.05) == (
        "Wilcoxon cannot reach alpha with so few pairs; "
        "resampling cannot reach alpha with so few permutations"
    )
    assert _note(SimpleNamespace(smallest_p=1e-4, permutations=499, note=""), 10, 0.05) == ""


def test_a_pair_keeps_its_random_numbers_whatever_else_is_compared() -> None:
    assert _seed("a", "b", "m") == _seed("a", "b", "m")
    assert _seed("a", "b", "m") != _seed("a", "c", "m")
