"""Suites: what is read, what is refused with one clear line, and the plan that follows."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pandas as pd
import pytest
from umbench_baselines.contracts import Perceptual

from umbench.data.annotated_set import write_set
from umbench.data.phantom import make_phantom_set
from umbench.engine.keys import stage_keys
from umbench.errors import InputError
from umbench.pipeline import Plan, Stage
from umbench.runfolder import resolved_yaml
from umbench.stages.values import (
    Board,
    Extract,
    Guidance,
    Sample,
    Score,
    Segment,
    Superpixels,
    Train,
    Utility,
)
from umbench.suite import usable
from umbench.suite.loader import load_suites, shipped, shipped_folder
from umbench.suite.plan import build_plan

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
    text = (shipped_folder() / f"{name}.yaml").read_text()
    assert load_suites(name, data=tmp_path if "${data}" in text else None)


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


def test_a_resolved_suite_is_the_same_suite(tmp_path: Path) -> None:
    (suite,) = load_suites("quick", overrides=("generators=[{id: m2i, paired: false}, v2m2i]",))
    (tmp_path / "resolved.yaml").write_text(resolved_yaml(suite))
    assert load_suites(str(tmp_path / "resolved.yaml")) == [suite]


@pytest.fixture(autouse=True)
def perceptual(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network whose weights are always there."""
    monkeypatch.setattr(
        "umbench.suite.rows.perceptual_network", lambda name: Perceptual(name, f"of {name}")
    )


BASE = GOOD.replace("samples: 5", "samples: 4") + "controls: [real, degraded]\n"
Kind = TypeVar("Kind", bound=Stage)


def plan_of(folder: Path, **changes: str) -> Plan:
    """The plan of a small suite with some of its lines replaced, or added."""
    lines = {line.partition(":")[0]: line for line in BASE.splitlines()}
    lines |= {key: f"{key}: {value}" for key, value in changes.items()}
    path = folder / "suite.yaml"
    path.write_text("\n".join(lines.values()))
    (suite,) = load_suites(str(path))
    return build_plan(suite)


def stages(plan: Plan, kind: type[Kind]) -> dict[str, Kind]:
    """Stages of one kind by label."""
    return {plan.labels[stage]: stage for stage in plan.stages if isinstance(stage, kind)}


def test_one_generator_may_have_several_rows_that_share_what_they_can(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, generators="[v2um2i, {id: v2um2i, name: strict, supervision: supervised}, "
        "{id: v2um2i, name: plain, supervision: semi, heads: both}]",
    )  # fmt: skip
    trained = stages(plan, Train)
    assert set(trained) == {
        "train g1-guidance seed 0",
        "train g2-guidance seed 0",
        "train g1-guidance supervision=supervised seed 0",
        "train g2-guidance supervision=supervised seed 0",
    }
    by_name = {stage.name: stage for stage in stages(plan, Sample).values()}
    assert list(by_name) == ["v2um2i", "strict", "plain"]
    assert by_name["plain"].networks == by_name["v2um2i"].networks  # defaults change nothing
    strict = {plan.labels[network] for network in by_name["strict"].networks}
    assert strict == {label for label in trained if "supervised" in label}


def test_heads_choose_the_networks_and_images_alone_have_no_utility(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, metrics="[mm-fid, utility]",
        generators="[um2i, {id: um2i, name: alone, heads: image}, "
        "{id: um2i, name: apart, heads: segmentation}]",
    )  # fmt: skip
    parts = {
        stage.name: {network.part.name: network for network in stage.networks}
        for stage in stages(plan, Sample).values()
    }
    assert "g2-segmentation" not in parts["alone"]
    assert parts["apart"]["g2-guidance"] == parts["alone"]["g2-guidance"]
    assert "g2-segmentation" in parts["apart"]
    arms = set(stages(plan, Segment))
    assert arms == {"segment real seed 0", "segment real+um2i seed 0", "segment real+apart seed 0"}
    (reason,) = stages(plan, Board)["board"].left_out
    assert reason.what == "utility of alone" and "without the masks" in reason.why


def test_the_board_sees_every_network_once_and_whose_it_is(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, generators="[um2i, v2um2i, m2i]", training="{seeds: [0, 3]}")
    board = stages(plan, Board)["board"]
    told = {plan.labels[told.network]: told.rows for told in board.told}
    assert {label: rows for label, rows in told.items() if "g2" in label} == {
        "train g2-guidance seed 0": ("um2i (seed 0)", "v2um2i (seed 0)"),
        "train g2-guidance seed 3": ("um2i (seed 3)", "v2um2i (seed 3)"),
        "train g2-masks seed 0": ("m2i (seed 0)",),
        "train g2-masks seed 3": ("m2i (seed 3)",),
    }


def test_options_of_a_need_reach_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, generators="[{id: datasetgan, annotated: 4, max_size: 32}]")
    classifier = stages(plan, Train)["train pixel-classifier annotated=4 seed 0"]
    (gan,) = classifier.needs
    assert plan.labels[gan] == "train g1-images max_size=32 seed 0"
    assert classifier.segmenter is not None


def test_controls_of_the_utility_are_arms(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, metrics="[mm-fid, utility]", samples="6",
        controls="[real, degraded, copies, held-out, shuffled]",
    )  # fmt: skip
    arms = {arm.name: arm for arm in stages(plan, Utility)["utility"].arms}
    for name, count in (("copies", 6), ("held-out", 5), ("shuffled", 5)):
        arm = arms[f"real+{name}"]
        assert arm.control and arm.segment.pairs is not None
        assert (arm.segment.pairs.control, arm.segment.pairs.count) == (name, count)
        assert arm.segment.synthetic is None
    assert arms["real"].segment.pairs is None and not arms["real"].control
    board = stages(plan, Board)["board"]
    assert board.pairs == {"real+copies": 6, "real+held-out": 5, "real+shuffled": 5}


def test_without_superpixels_there_is_no_stage_for_them(tmp_path: Path) -> None:
    with_them = plan_of(tmp_path, generators="[um2i]")
    without = plan_of(tmp_path, generators="[um2i]", guidance="{superpixels: none, t: 20}")
    assert stages(with_them, Superpixels) and not stages(without, Superpixels)
    guidance = stages(without, Guidance)["guidance"]
    assert (guidance.t, guidance.superpixels) == (20, None)
    assert stages(with_them, Guidance)["guidance"].superpixels is not None


def test_inception_at_two_sizes_is_two_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "_weights", lambda name: (True, ""))
    plan = plan_of(
        tmp_path,
        panel="{extractors: [inception-v3, {id: inception-v3, input: native}, sex], "
        "resolutions: [64]}",
    )
    score = stages(plan, Score)["score mm-fid"]
    views = dict.fromkeys(seen.extractor for seen in score.seen)
    assert list(views) == ["inception-v3", "inception-v3-native", "sex"]
    seen = stages(plan, Extract)
    assert seen["features real inception-v3"].input == "fixed"
    assert seen["features real inception-v3-native"].input == "native"
    assert seen["features real sex"].input is None


def test_only_what_is_named_is_measured(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, metrics="[mm-fid]")
    assert set(stages(plan, Score)) == {"score mm-fid"}
    more = plan_of(tmp_path, metrics="[mm-fid, kid, coverage, mm-std]")
    assert set(stages(more, Score)) == {
        "score mm-fid", "score kid", "score coverage", "score mm-std",
    }  # fmt: skip
    before, after = stage_keys(plan), stage_keys(more)
    moved = {type(stage).__name__ for stage in plan.stages if stage not in after}
    assert moved == {"Compare", "Board"}  # nothing is trained or extracted anew
    assert all(after[stage] == key for stage, key in before.items() if stage in after)


def test_a_metric_that_cannot_order_the_board_does_not_come_first(tmp_path: Path) -> None:
    for first in ("utility", "coverage"):
        with pytest.raises(InputError, match=r"key metrics\.0: the first metric orders the board"):
            plan_of(tmp_path, metrics=f"[{first}, mm-fid]")
    with pytest.raises(InputError, match="no 'mm-fit'; did you mean 'mm-fid'"):
        plan_of(tmp_path, metrics="[mm-fit]")


@pytest.mark.parametrize(
    ("generators", "expected"),
    [
        ("[{id: m2i, annotated: 4}]", r"key generators\.0\.annotated: m2i has no such option"),
        ("[{id: datasetgan, annotated: 0}]", r"key generators\.0\.annotated: "),
        ("[{id: um2i, heads: two}]", r"key generators\.0\.heads: "),
        ("[{id: um2i, supervision: 3}]", r"key generators\.0\.supervision: "),
        ("[{id: v2m2i, max_size: 48}]", r"key generators\.0\.max_size: "),
    ],
)
def test_options_are_the_generators_own(tmp_path: Path, generators: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        plan_of(tmp_path, generators=generators)
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_training_depends_on_is_in_its_key_and_nothing_else(tmp_path: Path) -> None:
    def keys(**lines: str) -> dict[str, str]:
        plan = plan_of(tmp_path, generators="[m2i, v2m2i]", **lines)
        by_stage = stage_keys(plan)
        return {plan.labels[stage]: by_stage[stage] for stage in plan.stages}

    base = keys()

    def changed(**lines: str) -> set[str]:
        other = keys(**lines)
        return {label for label, key in base.items() if other[label] != key}

    assert changed() == set()
    assert changed(statistics="{reference: m2i}") == {"compare", "board"}
    assert "extractor sex" in changed(training="{precision: bf16}")
    moved = changed(training="{perceptual: vgg19}")
    assert "train g2-masks seed 0" in moved
    assert not moved & {"extractor sex", "train g1-masks seed 0"}


def test_stages_of_one_name_are_told_apart(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, generators="[v2um2i, um2i]", training="{seeds: [0, 1]}")
    labels = list(plan.labels.values())
    assert len(set(labels)) == len(labels) == len(plan.stages)
    assert [label for label in labels if "[" in label] == []  # none is needed


def test_stages_come_after_what_they_need(tmp_path: Path) -> None:
    seen: set[Stage] = set()
    for stage in plan_of(tmp_path, generators="[v2um2i, datasetgan]").stages:
        assert set(stage.inputs.values()) <= seen, stage.label
        seen.add(stage)


def test_the_papers_suite_has_sixteen_observations_and_takes_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "_weights", lambda name: (True, ""))
    phantom = make_phantom_set(12, 64, seed=1, montages=2)
    split = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    table = pd.DataFrame(phantom.table).assign(split=split)
    write_set(tmp_path / "set", type(phantom)(phantom.info, phantom.images, phantom.masks, table))
    (suite,) = load_suites("paper", data=tmp_path / "set", overrides=("samples=4",))
    seen = stages(build_plan(suite), Score)["score mm-fid"].seen
    one = [s for s in seen if s.method.name == "um2i" and s.seed == seen[0].seed]
    names = [s.extractor for s in one]
    assert names == ["inception-v3-native", "sex", "age", "source"]
    assert sum(len(s.synthetic.resolutions) for s in one) == 16
    (phantom_suite,) = load_suites("paper-phantom")
    assert phantom_suite.panel == suite.panel and phantom_suite.data.phantom is not None
