"""The cost of a suite: counted operations and bytes, and what they follow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from torch import nn
from umbench_baselines import costs, pretend, segmenter_cost
from umbench_baselines.contracts import Budget, LabelMaps, Part, Pictures, Trained, TrainingData
from umbench_baselines.costs import Place, Setting
from umbench_baselines.pretend import autocast, bytes_of, pretending, shapes_alone, update, work
from umbench_baselines.stylegan.part import StyleGANPart
from umbench_baselines.training import CHECKPOINT, TrainingRun
from umbench_baselines.translation.part import TranslationPart

from umbench.cli.main import cli
from umbench.stages import values
from umbench.suite.cost import StageCost, render
from umbench.suite.cost.stages import cost_of, look
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

SUITE = (
    "quick", "--set", "generators=[m2i]", "--set", "panel.extractors=[sex]",
    "--set", "controls=[real, degraded]", "--set", "statistics.reference=null",
)  # fmt: skip


@pytest.mark.parametrize("block", [pretending, shapes_alone])
def test_operations_and_bytes_of_a_convolution(block: Any) -> None:
    """2 operations per multiplication; an image of 4 and a result of 8 channels, float32."""
    with block():
        network = nn.Conv2d(4, 8, 3, padding=1, bias=False)

        def step() -> None:
            with torch.no_grad():
                network(torch.zeros(2, 4, 32, 32))

        found = work(step)
    assert found.operations == 2 * (2 * 8 * 32 * 32) * 4 * 9
    assert found.alive == 4 * 2 * (4 + 8) * 32 * 32


def test_what_is_gone_is_not_held() -> None:
    def step() -> None:
        for _ in range(10):
            torch.zeros(1000).sqrt()

    with pretending():
        assert work(step).alive == 2 * 4000


def test_activations_are_held_for_the_way_back() -> None:
    with pretending():
        network = nn.Sequential(*(nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(20)))

        def forth() -> None:
            with torch.no_grad():
                network(torch.zeros(1000, 64))

        def back() -> None:
            update(network(torch.zeros(1000, 64)).sum(), network, 0)

        once, twice = work(forth), work(back)
    assert twice.alive > 20 * 1000 * 64 * 4 > once.alive
    assert twice.operations == pytest.approx(3 * once.operations, rel=0.03)


def test_inference_mode_is_counted() -> None:
    """There operations come whole: a convolution as such, not as what it is made of."""
    with pretending():
        network = nn.Conv2d(1, 2, 3)

        def step() -> None:
            with torch.inference_mode():
                network(torch.zeros(1, 1, 10, 10))

        assert work(step).operations == 2 * 2 * 64 * 9


def test_a_mixed_step_holds_less() -> None:
    from umbench_baselines.segmenter import preset

    config = replace(preset("quick"), batch=128, steps=10)  # more than are judged at once
    exact, mixed = (
        segmenter_cost.training(config, 3, 64, 10, Place(1, precision))
        for precision in ("no", "bf16")
    )
    assert mixed.operations == exact.operations
    assert 0.4 * exact.alive < mixed.alive < 0.9 * exact.alive


def test_devices_share_the_work_and_the_memory() -> None:
    from umbench_baselines.segmenter import preset

    config = replace(preset("quick"), batch=128, steps=10)
    one, four = (segmenter_cost.training(config, 3, 64, 10, Place(gpus, "no")) for gpus in (1, 4))
    assert four.operations == pytest.approx(one.operations)
    assert one.alive / 4 < four.alive < one.alive / 2
    assert Place(4, "no").share(2) == 2  # too few rows for all


@pytest.mark.parametrize(
    "part", [StyleGANPart("masks"), TranslationPart("guidance")], ids=lambda part: part.name
)
def test_bytes_are_those_of_the_true_training(part: Part, tmp_path: Path) -> None:
    """Weights and checkpoint as a real training of a few steps leaves them."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 32, 32), dtype=np.uint8)
    data = TrainingData(
        Pictures.of(images), Pictures.of(images), LabelMaps.of(images % 3, 3),
        torch.arange(8) < 4, 3, 0,
    )  # fmt: skip
    budget = Budget(scale=0.001)
    trained = part.train(data, TrainingRun(tmp_path, budget=budget), {})
    setting = Setting(32, 3, train=8, labelled=4, budget=budget, place=Place(0, "no"))
    found, drawn = costs.training(part, setting), costs.drawing(part, setting)
    assert found is not None and drawn is not None
    assert found.model == drawn.stays == bytes_of([part.build(trained)])
    assert found.checkpoint == pytest.approx((tmp_path / CHECKPOINT).stat().st_size, rel=0.15)


@dataclass(frozen=True)
class Silent(Part):
    """A third party's, which does not tell what it takes."""

    @property
    def name(self) -> str:
        return "silent"

    def train(self, data: TrainingData, run: TrainingRun, needs: Mapping[str, Trained]) -> Trained:
        raise NotImplementedError

    def build(self, trained: Trained) -> nn.Module:
        raise NotImplementedError


def test_what_is_not_told_is_unknown_and_left_out() -> None:
    (suite,) = load_suites(SUITE[0], overrides=SUITE[2::2])
    plan = build_plan(suite)
    (known,) = {s for s in plan.stages if isinstance(s, values.Train) and "g2" in s.label}
    found = look(suite, Place(0, "no"))
    rows = [cost_of(replace(known, part=Silent()), "silent", found), cost_of(known, "g2", found)]
    assert [row.known for row in rows] == [False, True]
    console = Console(width=100, record=True)
    console.print(render("some", rows, 0))
    table = console.export_text()
    assert "unknown" in table and "total of what is known" in table


def cost(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, ["plan", *SUITE, "--cost", "--json", *arguments])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)[0]
    return found


def costs_of(labels: set[str], gpus: int, *overrides: str) -> dict[str, StageCost]:
    """Some stages alone: counting the others takes its time."""
    (suite,) = load_suites(SUITE[0], overrides=(*SUITE[2::2], *overrides))
    found = look(suite, Place(gpus, suite.training.precision))
    named = {label: stage for stage, label in build_plan(suite).labels.items()}
    return {label: cost_of(named[label], label, found) for label in labels}


def test_a_plan_tells_its_cost() -> None:
    part = "train g2-masks seed 0"
    here = cost("--gpus", "0")
    stages = {stage["id"]: stage for stage in here["stages"]}
    scaled = costs_of({part}, 2, "training.scale=2")[part]
    larger = costs_of({part, "data"}, 0, "data.phantom.size=256")
    assert scaled.peta == pytest.approx(2 * stages[part]["peta"], rel=0.05)
    assert larger[part].peta > 3 * stages[part]["peta"]
    assert larger["data"].disk == 4 * stages["data"]["disk"]
    assert all(stage["device"] == 0 for stage in stages.values())
    assert scaled.device > 0
    assert scaled.host < larger[part].host
    assert here["total"]["peta"] == pytest.approx(sum(s["peta"] for s in stages.values()))
    features = [s for s in stages.values() if s["stage"] == "Extract"]
    assert all(stage["peta"] > 0 for stage in features)


@pytest.mark.parametrize("block", [pretending, shapes_alone])
def test_shortcuts_return_what_torch_works_out(monkeypatch: pytest.MonkeyPatch, block: Any) -> None:
    found = []
    for _ in range(2):
        with block():
            network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU())
            bias = nn.Parameter(torch.zeros(1, 4, 1, 1))

            def step(network: nn.Module = network, bias: nn.Parameter = bias) -> None:
                with autocast("bf16"):
                    out = network(torch.zeros(2, 1, 16, 16)) * bias + bias
                update(out.float().mean(), network, 1)

            found.append(work(step))
        monkeypatch.setattr(pretend, "_shortcuts", dict)
    assert found[0] == found[1]


def test_the_table_fits_100_columns() -> None:
    done = CliRunner().invoke(cli, ["plan", *SUITE, "--cost"])
    assert "train g2-masks seed 0" in done.output
    assert "total" in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 100


def test_gpus_belong_to_the_cost() -> None:
    done = CliRunner().invoke(cli, ["plan", *SUITE, "--gpus", "2"])
    assert done.exit_code == 2
    assert "--cost" in done.output
