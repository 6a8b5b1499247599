"""The last three stages on planted results: what a run folder shows of them."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from umbench_baselines.contracts import switches
from umbench_metrics.panel import ExtractorFacts

from umbench.data.annotated_set import AnnotatedSet, write_set
from umbench.data.phantom import make_phantom_set
from umbench.data.rows import write_arrays
from umbench.leaderboard.provenance import Provenance
from umbench.pipeline import Context, Plan, Stage
from umbench.stages.artifacts import FACTS, SET, save_arrays, save_json
from umbench.stages.values import (
    Board,
    Compare,
    Control,
    Extract,
    Phantom,
    Sample,
    Score,
    Segment,
    Split,
    Superpixels,
    Train,
    Utility,
)
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan

SUITE = """\
name: planted
data: {phantom: {subjects: 20, size: 32}}
splits: {train: 8, validation: 6, test: 6}
labelled: 4
generators:
  - um2i
  - {id: um2i, name: strict, supervision: supervised}
  - {id: um2i, name: alone, heads: image}
samples: 6
panel: {extractors: [sex, age], resolutions: [32]}
metrics: [mm-fid, mm-std, utility]
controls: [real, degraded, copies, held-out, shuffled]
statistics: {reference: um2i, permutations: 19}
"""
FARTHER = {"real": 0.0, "um2i": 1.0, "strict": 2.0, "alone": 3.0, "degraded": 9.0}


def kept(folder: Path, data: AnnotatedSet, **more: np.ndarray) -> None:
    """A set as a stage keeps it: its tables, and its pixels as arrays that can be mapped."""
    write_set(folder / SET, data)
    masks = {} if data.masks is None else {"masks": data.masks}
    write_arrays(folder / "pixels.safetensors", {"images": data.images, **masks, **more})


def planted(stage: Stage, label: str, folder: Path, data: AnnotatedSet) -> None:
    """What a stage of this kind leaves, without its work."""
    rng = np.random.default_rng([*label.encode()])
    folder.mkdir()
    if isinstance(stage, Phantom):
        kept(folder, data)
    elif isinstance(stage, (Sample, Control)):
        made = data.take(np.arange(6))
        bare = isinstance(stage, Sample) and stage.name == "alone"
        kept(folder, replace(made, masks=None) if bare else made, conditions=made.images)
    elif isinstance(stage, Train):
        trained: dict[str, Any] = {"perceptual": "planted"}
        if not switches(stage.part):
            trained["trusted_share"] = {"0": 0.9, "1": 0.7, "2": 0.0, "all": 0.81}
            trained["trusted_right"] = {"all": 0.95}
        save_json(folder / "model.json", trained)
    elif isinstance(stage, Superpixels):
        measured = {"superpixels_asked": 2048.0, "superpixels_per_image": 1800.0}
        save_json(folder / "result.json", {"measured": measured})
    elif isinstance(stage, Extract):
        name = stage.who.split()[0]
        away = FARTHER.get(name, 0.0)
        if stage.extractor == "age":  # here damage is not seen
            away = {"real": 1.0, "degraded": 0.5}.get(name, away)
        values = rng.normal(size=(6, 5)) * 0.1 + away
        save_arrays(folder, **{"32/0": values.astype(np.float32), "rows/0": np.arange(6)})
        facts = ExtractorFacts("planted", "compact", 5, "f" * 64)
        save_json(folder / FACTS, [facts.document()])
    elif isinstance(stage, Segment):
        rows = [(f"{k}.png", f"s{k}", "lung", rng.random(), "") for k in range(6)]
        columns = ["image", "subject", "region", "value", "empty"]
        pd.DataFrame(rows, columns=columns).to_csv(folder / "dice.csv", index=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose last stages are real."""
    root = tmp_path_factory.mktemp("planted")
    (root / "suite.yaml").write_text(SUITE)
    (suite,) = load_suites(str(root / "suite.yaml"))
    plan: Plan = build_plan(suite)
    folders = {stage: root / f"{k}" for k, stage in enumerate(plan.stages)}
    data = make_phantom_set(20, 32, seed=0)
    for stage in plan.stages:
        if not isinstance(stage, (Split, Score, Compare, Utility, Board)):
            planted(stage, plan.labels[stage], folders[stage], data)
            continue
        folders[stage].mkdir()
        inputs = {input: folders[input] for input in stage.inputs.values()}
        module = importlib.import_module(stage.RUN)
        module.run(Context(stage, inputs, folders[stage], folders[stage]))
    return folders[plan.final]


def test_rows_are_generators_controls_and_arms_of_real_pairs(run: Path) -> None:
    shown = pd.read_csv(run / "leaderboard.csv").set_index("method")
    arms = ["real+copies", "real+held-out", "real+shuffled"]
    assert list(shown.index) == ["real", "um2i", "strict", "alone", "degraded", *arms]
    assert shown.loc[arms, "mm_fid"].isna().all() and shown.loc[arms, "dice lung"].notna().all()
    assert np.isnan(shown.loc["alone", "dice lung"])
    assert shown.loc["um2i", "observations"] == 1
    tests = pd.read_csv(run / "tests.csv")
    dice = tests[tests["metric"] == "dice lung"].set_index("a")["family"]
    assert set(dice.index) == {"real+um2i", "real+strict", *arms}
    assert set(dice[arms]) == {"each control against real"}


def test_notes_say_what_the_numbers_depend_on(run: Path) -> None:
    document = json.loads((run / "leaderboard.json").read_text())["provenance"]
    provenance = Provenance.read(document)
    assert [item.what for item in provenance.left_out] == ["utility of alone", "age@32"]
    notes = "\n".join(provenance.notes)
    assert "MM-FID against um2i, Holm-adjusted: strict +" in notes
    assert "strict: um2i, supervision = supervised." in notes
    assert (
        "um2i: trusted share of unlabelled pixels 0.81, right 0.95; next to none of lesion" in notes
    )
    assert "128" not in notes and "512 superpixels per tile (2048 per image asked, 1800" in notes
    assert provenance.extractors[0].name == "sex"
    assert "age@32: degraded scores" in (run / "leaderboard.md").read_text()


def test_guidance_is_shown_above_what_was_made_from_it(run: Path) -> None:
    heights = {path.stem: Image.open(path).size[1] for path in (run / "pictures").iterdir()}
    assert heights["um2i"] == 3 * 36 + 4  # guidance, image, image with mask
    assert heights["alone"] == 2 * 36 + 4  # no mask
    assert heights["test-images"] == 2 * 36 + 4  # no guidance


def test_every_row_has_a_picture_and_a_link_to_it(run: Path) -> None:
    page = (run / "report.html").read_text()
    names = {path.stem for path in (run / "pictures").iterdir()}
    assert names == {"test-images", "real", "um2i", "strict", "alone", "degraded"}
    for name in names:
        assert f'href="pictures/{name}.png"' in page
