"""What stages do between the packages: which images, which scales, which notes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from umbench.errors import InputError, NotMeasuredError
from umbench.stages.artifacts import SplitTable
from umbench.stages.compare import _note, _seed
from umbench.stages.sample import condition_rows
from umbench.stages.scores import _normalised, _over_seeds, _relative


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


def test_all_normalisations_are_in_the_scores_and_a_missing_scale_is_named() -> None:
    values = {"real": [1.0, 2.0], "degraded": [11.0, 4.0], "a": [6.0, 3.0]}
    parts = pd.concat(_normalised(scores(values, "frechet-distance"), "anchored"))
    assert set(parts["metric"]) == {"mm-fid-anchored", "mm-fid-minmax", "mm-fid-l2-rows"}
    anchored = parts[(parts["metric"] == "mm-fid-anchored") & (parts["method"] == "a")]
    assert anchored["value"].tolist() == [0.5, 0.5]
    upside_down = scores({**values, "degraded": [11.0, 1.0]}, "frechet-distance")
    with pytest.raises(NotMeasuredError, match="anchored: e1@64: degraded does not score above"):
        _normalised(upside_down, "anchored")
    kept = pd.concat(_normalised(upside_down, "minmax"))
    assert set(kept["metric"]) == {"mm-fid-minmax", "mm-fid-l2-rows"}


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
