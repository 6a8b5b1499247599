"""Suites: what is read, what is refused with one clear line, and the plan that follows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from umbench.data.annotated_set import write_set
from umbench.data.phantom import make_phantom_set
from umbench.engine.keys import stage_keys
from umbench.errors import InputError
from umbench.pipeline import Plan, Stage
from umbench.runfolder import resolved_yaml
from umbench.stages import KINDS
from umbench.suite import usable
from umbench.suite.loader import load_suites, shipped, shipped_folder
from umbench.suite.plan import _Builder, build_plan
from umbench.suite.preflight import outline

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
        "umbench.suite.plan.perceptual_network",
        lambda name: {"name": name, "sha256": f"of {name}"},
    )


BASE = GOOD.replace("samples: 5", "samples: 4") + "controls: [real, degraded]\n"


def plan_of(folder: Path, **changes: str) -> Plan:
    """The plan of a small suite with some of its lines replaced, or added."""
    lines = {line.partition(":")[0]: line for line in BASE.splitlines()}
    lines |= {key: f"{key}: {value}" for key, value in changes.items()}
    path = folder / "suite.yaml"
    path.write_text("\n".join(lines.values()))
    (suite,) = load_suites(str(path))
    return build_plan(suite)


def stages(plan: Plan, *kinds: str) -> dict[str, Stage]:
    """Stages of some kinds by id."""
    return {stage.id: stage for stage in plan.stages if stage.kind in kinds}


def test_one_entry_may_have_several_rows_that_share_what_they_can(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, generators="[v2um2i, {id: v2um2i, name: strict, supervision: supervised}, "
        "{id: v2um2i, name: plain, supervision: semi, heads: both}]",
    )  # fmt: skip
    trained, drawn = stages(plan, "train"), stages(plan, "sample")
    assert set(trained) == {
        "train g1-guidance seed 0",
        "train g2-guidance seed 0",
        "train g1-guidance supervision=supervised seed 0",
        "train g2-guidance supervision=supervised seed 0",
    }
    assert trained["train g2-guidance supervision=supervised seed 0"].params["options"] == {
        "supervision": "supervised"
    }
    assert [stage.params["name"] for stage in drawn.values()] == ["v2um2i", "strict", "plain"]
    by_name = {stage.params["name"]: stage for stage in drawn.values()}
    assert by_name["plain"].inputs == by_name["v2um2i"].inputs  # defaults change nothing
    assert by_name["plain"].params["options"] == {}
    assert by_name["strict"].inputs["g2-guidance"].endswith("supervision=supervised seed 0")


def test_heads_choose_the_networks_and_images_alone_have_no_utility(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, metrics="[mm-fid, utility]",
        generators="[um2i, {id: um2i, name: alone, heads: image}, "
        "{id: um2i, name: apart, heads: segmentation}]",
    )  # fmt: skip
    drawn = {stage.params["name"]: stage for stage in stages(plan, "sample").values()}
    assert "g2-segmentation" not in drawn["alone"].inputs
    assert drawn["apart"].inputs["g2-guidance"] == drawn["alone"].inputs["g2-guidance"]
    assert "g2-segmentation" in drawn["apart"].inputs
    arms = set(stages(plan, "segment"))
    assert arms == {"segment real seed 0", "segment real+um2i seed 0", "segment real+apart seed 0"}
    (reason,) = stages(plan, "board")["board"].params["left_out"]
    assert reason["what"] == "utility of alone" and "without the masks" in reason["why"]


def test_the_board_sees_every_translator_once_and_whose_it_is(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, generators="[um2i, v2um2i, m2i]", training="{seeds: [0, 3]}")
    board = stages(plan, "board")["board"]
    assert board.params["translators"] == {
        "train g2-guidance seed 0": ["um2i (seed 0)", "v2um2i (seed 0)"],
        "train g2-guidance seed 3": ["um2i (seed 3)", "v2um2i (seed 3)"],
        "train g2-masks seed 0": ["m2i (seed 0)"],
        "train g2-masks seed 3": ["m2i (seed 3)"],
    }
    assert set(board.params["translators"]) <= set(board.inputs)


def test_options_of_a_need_reach_it(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, generators="[{id: datasetgan, annotated: 4, max_size: 32}]")
    trained = stages(plan, "train")
    classifier = trained["train pixel-classifier annotated=4 seed 0"]
    assert classifier.inputs["g1-images"] == "train g1-images max_size=32 seed 0"
    assert trained[classifier.inputs["g1-images"]].params["options"] == {"max_size": 32}


def test_controls_of_the_utility_are_arms(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path, metrics="[mm-fid, utility]", samples="6",
        controls="[real, degraded, copies, held-out, shuffled]",
    )  # fmt: skip
    arms = stages(plan, "segment")
    for name, count in (("copies", 6), ("held-out", 5), ("shuffled", 5)):
        stage = arms[f"segment real+{name} seed 0"]
        assert (stage.params["pairs"], stage.params["count"]) == (name, count)
        assert set(stage.inputs) == {"data", "split"}
    assert arms["segment real seed 0"].params["pairs"] is None
    compare = stages(plan, "compare")["compare"]
    assert compare.params["pairs"] == {"real+copies": 6, "real+held-out": 5, "real+shuffled": 5}
    assert compare.inputs["dice real+shuffled|0"] == "segment real+shuffled seed 0"


def test_without_superpixels_there_is_no_stage_for_them(tmp_path: Path) -> None:
    with_them = plan_of(tmp_path, generators="[um2i]")
    without = plan_of(tmp_path, generators="[um2i]", guidance="{superpixels: none, t: 20}")
    assert stages(with_them, "superpixels") and not stages(without, "superpixels")
    guidance = stages(without, "guidance")["guidance"]
    assert (dict(guidance.params), dict(guidance.inputs)) == ({"t": 20}, {"data": "data"})
    assert set(stages(with_them, "guidance")["guidance"].inputs) == {"data", "superpixels"}


def test_inception_at_two_sizes_is_two_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "_weights", lambda name: (True, ""))
    plan = plan_of(
        tmp_path,
        panel="{extractors: [inception-v3, {id: inception-v3, input: native}, sex], "
        "resolutions: [64]}",
    )
    views = stages(plan, "scores")["scores"].params["extractors"]
    assert views == ["inception-v3", "inception-v3-native", "sex"]
    seen = stages(plan, "features")
    assert seen["features real inception-v3"].params["input"] == "fixed"
    assert seen["features real inception-v3-native"].params["input"] == "native"
    assert seen["features real sex"].params["input"] is None
    keys = stage_keys(plan, KINDS)
    assert keys["features real inception-v3"] != keys["features real inception-v3-native"]


def test_what_a_training_depends_on_is_in_its_key_and_nothing_else(tmp_path: Path) -> None:
    def changed(base: Plan, **lines: str) -> set[str]:
        other = plan_of(tmp_path, generators="[m2i, v2m2i]", **lines)
        before, after = stage_keys(base, KINDS), stage_keys(other, KINDS)
        return {stage.kind for stage in base.stages if before[stage.id] != after[stage.id]}

    base = plan_of(tmp_path, generators="[m2i, v2m2i]")
    assert changed(base) == set()
    assert changed(base, statistics="{reference: m2i}") == {"compare", "board"}
    assert "extractor" in changed(base, training="{precision: bf16}")
    moved = changed(base, training="{perceptual: vgg19}")
    assert "train" in moved and "extractor" not in moved
    other = plan_of(tmp_path, generators="[m2i, v2m2i]", training="{perceptual: vgg19}")
    keys, others = stage_keys(base, KINDS), stage_keys(other, KINDS)
    assert keys["train g2-masks seed 0"] != others["train g2-masks seed 0"]
    assert keys["train g1-masks seed 0"] == others["train g1-masks seed 0"]


def test_two_stages_of_one_name_are_no_plan(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(BASE)
    (suite,) = load_suites(str(path))
    builder = _Builder(suite, outline(suite))
    builder.add("a", "split", {"seed": 0}, data="data")
    builder.add("a", "split", {"seed": 0}, data="data")
    with pytest.raises(ValueError, match="two different stages are called 'a'"):
        builder.add("a", "split", {"seed": 1}, data="data")


def test_stages_come_after_what_they_need(tmp_path: Path) -> None:
    seen: set[str] = set()
    for stage in plan_of(tmp_path, generators="[v2um2i, datasetgan]").stages:
        assert set(stage.inputs.values()) <= seen, stage.id
        seen.add(stage.id)


def test_the_papers_suite_has_sixteen_observations_and_takes_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "_weights", lambda name: (True, ""))
    phantom = make_phantom_set(12, 64, seed=1, montages=2)
    split = ["train"] * 16 + ["validation"] * 4 + ["test"] * 4
    table = pd.DataFrame(phantom.table).assign(split=split)
    write_set(tmp_path / "set", type(phantom)(phantom.info, phantom.images, phantom.masks, table))
    (suite,) = load_suites("paper", data=tmp_path / "set", overrides=("samples=4",))
    scores = stages(build_plan(suite), "scores")["scores"].params
    assert scores["extractors"] == ["inception-v3-native", "sex", "age", "source"]
    assert len(scores["extractors"]) * len(scores["resolutions"]) == 16
    (phantom_suite,) = load_suites("paper-phantom")
    assert phantom_suite.panel == suite.panel and phantom_suite.data.phantom is not None
