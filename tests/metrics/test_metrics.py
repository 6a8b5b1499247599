"""Every metric of the registry, by itself and against other implementations."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from umbench_metrics import plugins, registry
from umbench_metrics.features import extract
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.kid import KID, kernel_distance
from umbench_metrics.manifold import density_coverage, precision_recall
from umbench_metrics.metric import Span, can_be_resampled, difference_unit
from umbench_metrics.mm_std import feature_std
from umbench_metrics.panel import ExtractorFacts, Features, View
from umbench_metrics.scoring import score, score_row

VIEW = View("planted", 64)
FACTS = ExtractorFacts("planted", "compact", 12, "f" * 16)


def features(rows: int, seed: int, shift: float = 0.0, dim: int = 12) -> np.ndarray:
    mix = np.random.default_rng(99).normal(size=(dim, dim)) / np.sqrt(dim)
    return np.abs(np.random.default_rng(seed).normal(size=(rows, dim)) @ mix + shift)


def through(*folds: np.ndarray) -> Features:
    """A set whose images are dealt out to the folds in turn."""
    numbers = tuple(np.arange(sum(map(len, folds)))[k :: len(folds)] for k in range(len(folds)))
    return Features(VIEW, folds, numbers, FACTS)


def scored(name: str, methods: dict[str, np.ndarray]) -> pd.DataFrame:
    """Raw rows of one metric at two seeds and one view, as in scores.csv."""
    metric, real = registry.get(name), through(features(60, 0))
    return pd.DataFrame(
        [
            score_row(metric, real, through(made), method=method, seed=seed)
            for method, made in methods.items()
            for seed in (0, 1)
        ]
    )


METHODS = {
    "real": features(40, 1),
    "close": features(40, 2, 0.1),
    "far": features(40, 3, 1.0),
    "degraded": features(40, 4, 2.0),
}
SPAN = Span(["close", "far"], "anchored")


@pytest.mark.parametrize("name", registry.names())
class TestEveryMetric:
    def test_declares_itself(self, name: str) -> None:
        metric = registry.get(name)
        assert metric.name == name and metric.score and metric.label and metric.aspect
        assert bool(metric.values) == bool(metric.interval)
        assert registry.source(name) == type(metric).__module__
        if name in registry.BUILT_IN:
            assert registry.BUILT_IN[name].endswith(f":{type(metric).__name__}")

    def test_value_is_a_mean_over_folds_and_reproducible(self, name: str) -> None:
        metric = registry.get(name)
        real, made = features(60, 0), features(40, 1, 0.2)
        both = metric.value(through(real, real), through(made[::2], made[1::2]), 3)
        assert both == metric.value(through(real, real), through(made[::2], made[1::2]), 3)
        halves = [metric.of_fold(real, made[k::2]) for k in (0, 1)]
        assert both.value == pytest.approx(np.mean(halves))
        assert np.isnan(both.low) == (not metric.interval)
        if metric.interval:
            assert both.low < both.value < both.high

    def test_scores_shown_are_there_and_order_planted_sets(self, name: str) -> None:
        metric, raw = registry.get(name), scored(name, METHODS)
        tables = [raw, *metric.scaled(raw, SPAN).tables]
        table = pd.concat(tables)
        assert all(list(part.columns) == list(raw.columns) for part in tables)
        shown = metric.shown(set(table["metric"]), SPAN)
        assert shown.metric == name and not shown.note
        for column in metric.columns(shown):
            here = table[table["metric"] == column.score]
            assert set(here["method"]) == set(METHODS)
            assert len(here) == 2 * len(METHODS)
        first = metric.columns(shown)[0]
        assert first.score == shown.score and first.heading and first.axis
        assert metric.label in metric.explained(shown)
        means = table[table["metric"] == shown.score].groupby("method")["value"].mean()
        if name not in ("mm-std", "density"):  # their good values are in the middle
            ends = means[["close", "far"]].to_list()
            assert ends == sorted(ends, reverse=first.direction == "higher")

    def test_bad_features_are_named(self, name: str) -> None:
        metric = registry.get(name)
        with pytest.raises(ValueError, match="features must be"):
            metric.of_fold(features(20, 0), np.zeros(20))
        if name != "mm-std":
            with pytest.raises(ValueError, match="differ in dimension"):
                metric.of_fold(features(20, 0), features(20, 0, dim=5))
            with pytest.raises(ValueError, match=r"synthetic.*NaN"):
                metric.of_fold(features(20, 0), np.full((20, 12), np.nan))

    def test_differences_are_those_of_values(self, name: str) -> None:
        metric = registry.get(name)
        if not can_be_resampled(metric):
            return
        real, pool = features(50, 0), features(60, 1, 0.3)
        rows = np.random.default_rng(0).permuted(np.tile(np.arange(60), (5, 1)), axis=1)
        first, second = rows[:, :30], rows[:, 30:]
        found = metric.differences(real, pool, first, second)
        expected = [
            metric.of_fold(real, pool[a]) - metric.of_fold(real, pool[b])
            for a, b in zip(first, second, strict=True)
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
        again = np.random.default_rng(1).integers(60, size=(3, 30))
        assert np.isfinite(metric.differences(real, pool, again, again[::-1])).all()

    def test_the_unit_of_differences(self, name: str) -> None:
        metric = registry.get(name)
        if not can_be_resampled(metric):
            return
        real, a, b = (through(features(30, k)) for k in range(3))
        shown = metric.shown({f"{name}-anchored"}, SPAN)
        raw = {"real": 1.0, "degraded": 5.0}
        unit = difference_unit(metric, shown, raw, real, a, b)
        assert unit == (1.0 if name == "mm-std" else 4.0)
        without = metric.shown(set(), Span([], "minmax"))
        unit = difference_unit(metric, without, {}, real, a, b)
        both = np.concatenate([a.folds[0], b.folds[0]])
        assert unit == metric.size(real.folds[0], both) > 0
        assert unit == pytest.approx(difference_unit(metric, without, {}, real, b, a))


@pytest.mark.parametrize(("n", "dim"), [(40, 12), (30, 96)])
def test_kid_equals_torch_fidelity(n: int, dim: int) -> None:
    real, made = features(n, 0, dim=dim), features(n, 1, 0.1, dim=dim)
    theirs = kid_features_to_metric(
        torch.from_numpy(made), torch.from_numpy(real), kid_subsets=1, kid_subset_size=n,
        kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1.0, rng_seed=0, verbose=False,
    )  # fmt: skip
    expected = theirs["kernel_inception_distance_mean"]
    assert kernel_distance(real, made).value == pytest.approx(expected, rel=1e-6)


def test_kid_by_hand() -> None:
    # in one dimension: k(0, 0) = 1, k(0, 1) = 1, k(1, 1) = 8, k(0, 2) = 1, k(1, 2) = 27
    found = kernel_distance(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0], [1.0]]))
    among_real, among_made, between = 1.0, (1 + 1 + 27) / 3, (1 + 1 + 1 + 1 + 8 + 27) / 6
    assert found.value == pytest.approx(among_real + among_made - 2 * between)
    assert found.interval is None and np.isnan(found.standard_error)


def test_kid_is_unbiased_and_its_interval_covers() -> None:
    generator = np.random.default_rng(0)
    found = [kernel_distance(*generator.normal(size=(2, 40, 6))) for _ in range(300)]
    values = np.array([f.value for f in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    far = generator.normal(size=(2000, 6)) + 0.5
    truth = kernel_distance(generator.normal(size=(2000, 6)), far, blocks=1).value
    inside = 0
    for _ in range(200):
        real, made = generator.normal(size=(60, 6)), generator.normal(size=(50, 6)) + 0.5
        low, high = kernel_distance(real, made).interval or (0.0, 0.0)
        inside += low <= truth <= high
    assert 0.88 <= inside / 200 <= 0.995


def test_the_jackknife_leaves_out_blocks_of_both_sets() -> None:
    real, made = features(9, 0), features(7, 1)
    found = kernel_distance(real, made)  # three blocks: 3 + 3 + 3 and 3 + 2 + 2 images
    parts = [np.array_split(np.arange(n), 3) for n in (9, 7)]
    left = [
        kernel_distance(np.delete(real, r, axis=0), np.delete(made, m, axis=0), blocks=1).value
        for r, m in zip(*parts, strict=True)
    ]
    assert found.standard_error == pytest.approx(np.sqrt(2 * np.var(left)))


@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("n", [40, 25])
def test_manifolds_equal_prdc_and_torch_fidelity(n: int, shift: float) -> None:
    real, made = features(40, 0), features(n, 1, shift)
    for k in (3, 5):
        theirs = compute_prdc(real, made, k)
        ours = precision_recall(real, made, neighbours=k)
        more = density_coverage(real, made, neighbours=k)
        found = (ours.precision, ours.recall, more.density, more.coverage)
        expected = [theirs[key] for key in ("precision", "recall", "density", "coverage")]
        assert found == pytest.approx(expected, abs=1e-6)
    theirs = prc_features_to_metric(
        torch.from_numpy(made), torch.from_numpy(real), prc_neighborhood=3, prc_batch_size=64,
        save_cpu_ram=False, verbose=False,
    )  # fmt: skip
    ours = precision_recall(real, made)
    expected = [theirs["precision"], theirs["recall"]]
    assert (ours.precision, ours.recall) == pytest.approx(expected, abs=1e-6)


def test_copies_of_real_images_lie_on_the_edges() -> None:
    real = features(30, 0, dim=96)
    copied = precision_recall(real, real[np.random.default_rng(0).permutation(30)])
    assert (copied.precision, copied.recall) == (1.0, 1.0)
    # an image lies in its own ball and in those whose 5th neighbour it is nearer than
    apart = np.linalg.norm(real[:, None] - real[None], axis=2)
    radii = np.sort(apart, axis=1)[:, 5]
    inside = (apart < radii[:, None] - 1e-9).sum() / 30 / 5
    assert density_coverage(real, real).density == pytest.approx(inside) == 1.0


seeds = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, scale=st.floats(0.01, 100))
def test_manifolds_do_not_depend_on_units_or_order(seed: int, scale: float) -> None:
    real, made = features(20, seed), features(17, seed + 1, 0.2)
    order = np.random.default_rng(seed).permutation(17)
    for of in (precision_recall, density_coverage):
        assert of(real, made) == of(real, made[order])
        assert of(real + 5, made + 5) == of(real, made)
        assert of(real * scale, made * scale) == of(real, made)


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_kid_is_symmetric_and_does_not_depend_on_order(seed: int) -> None:
    real, made = features(20, seed), features(17, seed + 1, 0.2)
    value = kernel_distance(real, made, blocks=1).value
    close = pytest.approx(value, rel=1e-9, abs=1e-12)
    assert kernel_distance(made, real, blocks=1).value == close
    assert kernel_distance(real[::-1], made, blocks=1).value == close
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(12, 12)))[0]
    assert kernel_distance(real @ turn, made @ turn, blocks=1).value == close


def test_an_observation_without_anchors_is_left_out_at_every_seed() -> None:
    raw = scored("kid", METHODS)
    upside_down = raw.assign(extractor="blind")
    ceiling = (upside_down["method"] == "degraded") & (upside_down["seed"] == 1)
    upside_down.loc[ceiling, "value"] = -1.0
    found = KID().scaled(pd.concat([raw, upside_down]), SPAN)
    assert list(found.left_out) == ["kid-anchored"]
    assert list(found.left_out["kid-anchored"]) == ["blind@64"]
    table = pd.concat(found.tables)
    anchored = table[table["metric"] == "kid-anchored"]
    assert set(anchored["extractor"]) == {"planted"}
    assert anchored.groupby("method")["value"].mean()[["real", "degraded"]].tolist() == [0, 1]
    only = KID().scaled(upside_down, SPAN)
    shown = KID().shown(set(pd.concat(only.tables)["metric"]), SPAN)
    assert (shown.score, shown.scale) == ("kid-minmax", "minmax")
    assert shown.note.startswith("KID is minmax, not anchored")


def test_variety_is_over_that_of_real_or_of_all() -> None:
    raw = scored("mm-std", METHODS)
    (table,) = registry.get("mm-std").scaled(raw, SPAN).tables
    assert set(table["direction"]) == {"near 1"} and set(raw["direction"]) == {"near that of real"}
    relative = table[table["seed"] == 0].set_index("method")["value"]
    absolute = raw[raw["seed"] == 0].set_index("method")["value"]
    assert relative["real"] == 1
    assert relative["far"] == pytest.approx(absolute["far"] / absolute["real"])
    rest = raw[raw["method"] != "real"]
    (table,) = registry.get("mm-std").scaled(rest, SPAN).tables
    assert table.groupby("seed")["value"].mean().to_list() == pytest.approx([1, 1])


class Closeness(KID):
    name = score = "closeness"


def register(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    points = [EntryPoint(name, value, "umbench.metrics") for name, value in values.items()]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


def test_other_packages_bring_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, other="nowhere.at_all:Metric", closeness=f"{__name__}:Closeness")
    assert registry.names()[-2:] == ["closeness", "other"]
    assert registry.source("other") == "nowhere.at_all"  # without importing it
    assert isinstance(registry.get("closeness"), Closeness)
    with pytest.raises(ValueError, match="did you mean 'closeness'"):
        registry.get("closenes")
    with pytest.raises(ValueError, match=r"at_all:Metric cannot be loaded"):
        registry.get("other")
    register(monkeypatch, mine=f"{__name__}:Closeness")
    with pytest.raises(ValueError, match="calls itself 'closeness'"):
        registry.get("mine")


def test_a_name_belongs_to_one_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, kid="theirs.kid:Kid")
    with pytest.raises(ValueError, match=r"'kid' is both umbench_metrics\.kid:KID and theirs"):
        registry.names()


def test_facts_of_folds_and_seeds_are_merged() -> None:
    one = replace(FACTS, fingerprint="a" * 64, accuracy=0.5, flag="")
    two = replace(FACTS, fingerprint="b" * 64, accuracy=0.7, flag="no better than chance")
    alone = ExtractorFacts.of_folds([one])
    assert (alone.fingerprint, alone.folds) == ("a" * 16, 1)
    crossed = ExtractorFacts.of_folds([one, two])
    assert (crossed.folds, crossed.accuracy, crossed.flag) == (2, 0.6, "no better than chance")
    assert crossed.fingerprint not in ("a" * 16, "b" * 16) and len(crossed.fingerprint) == 16
    assert ExtractorFacts.of_seeds([alone, alone, alone]) == alone
    seeds = ExtractorFacts.of_seeds([crossed, alone, crossed])
    assert (seeds.folds, seeds.flag) == (2, "no better than chance")
    assert seeds.accuracy == pytest.approx(0.55)
    assert ExtractorFacts.read(json.loads(json.dumps(crossed.document()))) == crossed
    with pytest.raises(ValueError, match="no 'colour'"):
        ExtractorFacts.read({**crossed.document(), "colour": "red"})


def test_facts_of_a_network_and_of_a_bare_one() -> None:
    class Bare:
        name, dim, fingerprint = "bare", 7, "0"

    class Trained(Bare):
        backbone, accuracy, chance, n_held_out = "compact", 0.5, 0.5, 10
        better_than_chance, trained_on = False, ("s1",)

    bare = ExtractorFacts.of(Bare())
    assert (bare.backbone, bare.accuracy, bare.flag, bare.trained_on) == ("bare", None, "", ())
    trained = ExtractorFacts.of(Trained())
    assert (trained.flag, trained.trained_on) == ("no better than chance", ("s1",))


def test_views_sort_and_print() -> None:
    views = [View("sex", 256), View("age", 512), View("sex", 128, "native"), View("sex", 128)]
    assert [str(v) for v in sorted(views)] == ["age@512", "sex@128", "sex@256", "sex-native@128"]


def test_features_count_images_once_and_are_cut_fold_by_fold() -> None:
    made = through(features(5, 0), features(4, 1))
    assert made.n == 9
    short = made.cut([4, 3])
    assert (short.n, [len(fold) for fold in short.folds]) == (7, [4, 3])
    assert short.rows[1].tolist() == [1, 3, 5]
    every = np.arange(5)
    reference = Features(VIEW, (features(5, 0), features(5, 0)), (every, every), FACTS)
    assert reference.n == 5


def test_a_score_is_a_row() -> None:
    real, made = through(features(20, 0), features(20, 0)), through(features(9, 1), features(8, 2))
    row = score_row(registry.get("mm-fid"), real, made, method="m", seed=2)
    assert list(row)[:5] == ["method", "seed", "extractor", "backbone", "resolution"]
    assert (row["n_real"], row["n_synthetic"], row["folds"]) == (40, 17, 2)
    distances = [
        frechet_distance(r, s, bootstrap=200, seed=2)
        for r, s in zip(real.folds, made.folds, strict=True)
    ]
    assert row["value"] == np.mean([d.value for d in distances])
    assert (row["low"], row["high"]) == tuple(np.mean([d.interval for d in distances], axis=0))


def test_every_metric_has_a_row_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/api.md").read_text()
    for name in registry.BUILT_IN:
        metric = registry.get(name)
        assert f"| `{name}` | `{metric.score}`" in page


def test_the_public_surface_is_there_and_costs_nothing_unused() -> None:
    code = (
        "import sys, umbench_metrics as m\n"
        "assert not [n for n in sys.modules if n.startswith(('umbench_metrics.', 'numpy'))]\n"
        "missing = [n for n in dir(m) if getattr(m, n, None) is None and n[0] != '_']\n"
        "assert not missing and {'score', 'frechet_distance', 'kernel_distance'} <= set(dir(m))\n"
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)\n"
        "from umbench_metrics import no_such_thing\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: cannot import name 'no_such_thing'" in done.stderr, done.stderr


def test_scores_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    class Means:
        name, dim, fingerprint = "means", 4, "0" * 64

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)

    monkeypatch.setattr("umbench_metrics.extractors.load", lambda name: Means())
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    table = score(
        images[:10], images[10:], metrics=["kid", "mm-std"], extractors=["means"], resolutions=[4]
    )
    assert table["metric"].tolist() == ["kernel-distance", "mm-std"]
    seen = [extract(Means(), part, 4) for part in (images[:10], images[10:])]
    assert table["value"].tolist() == [kernel_distance(*seen).value, feature_std(seen[1])]
    with pytest.raises(ValueError, match="no metric called"):
        score(images, images, metrics=["fid"])
