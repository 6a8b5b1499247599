"""Generators by their contract: ours and a third party's; names that collide; killed trainings."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from umbench_baselines import entries
from umbench_baselines.contracts import (
    AnnotatedBatch,
    Budget,
    Generator,
    Part,
    Perceptual,
    Trained,
    TrainingData,
    as_conditions,
    switches,
)
from umbench_baselines.guidance import superpixels
from umbench_baselines.segmenter import PRESETS, build_segmenter, trained_segmenter
from umbench_baselines.training import TrainingRun

pytestmark = pytest.mark.usefixtures("one_thread")

Install = Callable[[Mapping[str, Mapping[str, str]]], Path]
GROUP = "umbench.generators"
THEIRS = {GROUP: {"planted": "planted_networks:PLANTED"}}
UNTRAINED = Budget(untrained=True)


def trained(
    parts: tuple[Part, ...], data: TrainingData, folder: Path, budget: Budget = UNTRAINED
) -> dict[str, Trained]:
    """All parts of a generator, as a benchmark trains them."""
    torch.manual_seed(0)
    annotator = build_segmenter(data.classes, PRESETS["quick"])
    done = {"segmenter": trained_segmenter(annotator, "quick", data.classes)}
    for part in parts:
        needs = {name: done[name] for name in (need.name for need in part.needs)}
        if part.segmenter:
            needs["segmenter"] = done["segmenter"]
        seen = data if part.guidance else TrainingData(data.images, None, *rest(data))
        done[part.name] = part.train(seen, TrainingRun(folder / part.name, 3, budget), needs)
    return {part.name: done[part.name] for part in parts}


def rest(data: TrainingData) -> tuple:
    return data.masks, data.labelled, data.classes, data.t


def draw(
    generator: Generator, state: object, data: TrainingData, start: int, stop: int
) -> AnnotatedBatch:
    real = {"masks": data.masks, "guidance": data.guidance}.get(generator.conditions or "")
    conditions = None if real is None else as_conditions(real, range(start, stop))
    return generator.sample(state, stop - start, 5, conditions, start)


@pytest.mark.parametrize("name", ["m2i", "v2m2i", "um2i", "v2um2i", "datasetgan", "planted"])
def test_every_generator_keeps_the_contract(
    name: str, discs: TrainingData, install: Install, tmp_path: Path
) -> None:
    """Shapes and ranges; an image is the same in any batch; weights and facts survive a store."""
    install(THEIRS)
    generator = entries.get(name)
    options = generator.Options()
    parts = generator.parts(options, Perceptual())
    assert len({part.name for part in parts}) == len(parts)
    assert pickle.loads(pickle.dumps((parts, options))) == (parts, options)
    networks = trained(parts, discs, tmp_path)
    kept = {
        key: Trained(network.weights, json.loads(json.dumps(dict(network.facts))))
        for key, network in networks.items()
    }
    state = generator.build(kept, options, torch.device("cpu"))
    whole = draw(generator, state, discs, 0, 5)
    pieces = [draw(generator, state, discs, *rows) for rows in ((0, 2), (2, 5))]
    assert whole.images.shape == (5, 1, 32, 32)
    assert 0 <= whole.images.min() <= whole.images.max() <= 1
    assert (whole.masks is not None) == generator.annotates(options)
    assert (whole.conditions is not None) == generator.guided
    assert (whole.doubt is not None) == generator.chooses
    assert generator.drawn(5, state) >= 5
    assert set(whole.masks.unique().tolist()) <= set(range(discs.classes))
    for kind in ("images", "masks", "conditions", "doubt"):
        if getattr(whole, kind) is not None:
            assert torch.equal(
                getattr(whole, kind), torch.cat([getattr(piece, kind) for piece in pieces])
            )


def test_only_what_is_drawn_more_often_is_chosen_from() -> None:
    found = entries.get("datasetgan").keep(torch.tensor([0.3, 0.1, 0.9, 0.1, 0.2]), 3)
    assert found.tolist() == [1, 3, 4]


def test_generators_share_equal_parts() -> None:
    perceptual = Perceptual("efficientnet-lite0", "abc")

    def parts(name: str, **options: object) -> set[Part]:
        generator = entries.get(name)
        return set(generator.parts(generator.Options(**options), perceptual))

    assert parts("m2i") < parts("v2m2i")
    assert parts("um2i") < parts("v2um2i")
    assert not parts("m2i", paired=False) & parts("v2m2i")
    assert len(parts("datasetgan") & parts("datasetgan", annotated=4)) == 1
    # a segmentation alone is trained the same whether images are paired or not
    two = parts("um2i", heads="segmentation") & parts("um2i", heads="segmentation", paired=False)
    assert [part.name for part in two] == ["g2-segmentation"]


def test_switches_tell_what_is_not_by_default() -> None:
    generator = entries.get("v2um2i")
    options = generator.Options(paired=False, supervision="supervised", max_size=16)
    first, second = generator.parts(options, Perceptual("vgg19", "abc"))
    assert switches(first) == ["max_size=16", "supervision=supervised"]
    assert switches(second) == ["paired=false", "supervision=supervised"]
    assert switches(generator.parts(generator.Options(), Perceptual("vgg19", "abc"))[1]) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("m2i", {"heads": "image"}), ("m2i", {"max_size": 16}), ("um2i", {"heads": "one"}),
        ("v2m2i", {"max_size": 12}), ("datasetgan", {"annotated": 0}), ("um2i", {"paired": "no"}),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        entries.get(name).Options(**options)


# -- a third party's


def test_a_third_party_trains_a_network_of_its_own(
    discs: TrainingData, install: Install, tmp_path: Path
) -> None:
    install(THEIRS)
    built_in, others = entries.names()[:5], entries.names()[5:]
    assert built_in == ["m2i", "v2m2i", "um2i", "v2um2i", "datasetgan"]
    assert "planted" in others
    generator = entries.get("planted")
    options = generator.Options(width=16)
    (part,) = generator.parts(options, Perceptual())
    assert (part.name, part.source) == ("planted", "planted_networks")
    assert switches(part) == ["width=16"]
    assert part != generator.parts(generator.Options(), Perceptual())[0]
    errors = []
    for scale in (0.05, 10):
        networks = trained((part,), discs, tmp_path / str(scale), Budget(scale=scale))
        state = generator.build(networks, options, torch.device("cpu"))
        drawn = draw(generator, state, discs, 0, 8)
        mean = discs.images.batch(slice(0, 7)).mean(0)
        errors.append(float((drawn.images.mean(0) - mean).square().mean()))
    assert errors[1] < 0.2 * errors[0]


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
from umbench_baselines.training import TrainingRun

part, data, budget = pickle.loads(Path(sys.argv[1]).read_bytes())

def progress(done, total, text):
    if done == 12:
        os.kill(os.getpid(), signal.SIGKILL)

run = TrainingRun(Path(sys.argv[2]), 3, budget, checkpoint_seconds=0.0, progress=progress)
part.train(data, run, {})
"""


def test_a_third_partys_training_goes_on_after_a_kill(
    discs: TrainingData, install: Install, tmp_path: Path
) -> None:
    site = install(THEIRS)
    generator = entries.get("planted")
    (part,) = generator.parts(generator.Options(), Perceptual())
    whole = part.train(discs, TrainingRun(tmp_path / "whole", 3, Budget()), {})
    (tmp_path / "job").write_bytes(pickle.dumps((part, discs, Budget())))
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "job"), str(tmp_path / "cut")]
    killed = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": path}, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    heard: list[int] = []
    run = TrainingRun(
        tmp_path / "cut", 3, Budget(), progress=lambda done, total, text: heard.append(done)
    )
    resumed = part.train(discs, run, {})
    assert heard[0] == 12 and heard[-1] == 20
    assert all(torch.equal(whole.weights[key], value) for key, value in resumed.weights.items())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("m2i", r"'m2i' of theirs \(planted_networks:PLANTED\).*built-in generator"),
        ("degraded", r"'degraded' of theirs.*a control"),
        ("held-out", r"'held-out' of theirs.*a control"),
        ("two words", r"'two words' of theirs.*letters, digits"),
    ],
)
def test_names_that_are_taken_are_refused(name: str, told: str, install: Install) -> None:
    install({GROUP: {name: "planted_networks:PLANTED"}})
    for ask in (entries.names, lambda: entries.get("m2i")):
        with pytest.raises(ValueError, match=told):
            ask()


def test_objects_that_are_no_generators_are_refused(install: Install) -> None:
    install({GROUP: {"network": "planted_networks:Decoder", "other": "planted_networks:PLANTED"}})
    with pytest.raises(ValueError, match="Decoder is no Generator; register an object"):
        entries.get("network")
    with pytest.raises(ValueError, match="calls itself 'planted'"):
        entries.get("other")
    with pytest.raises(ValueError, match="did you mean 'um2i'"):
        entries.get("umm2i")


def test_superpixels_may_be_trained(discs: TrainingData, install: Install, tmp_path: Path) -> None:
    install({"umbench.superpixels": {"learnt": "planted_networks:LEARNT"}})
    assert superpixels.algorithm_names()[:2] == ["slic", "none"]
    assert "learnt" in superpixels.algorithm_names()[2:]
    assert superpixels.source("learnt") == "planted_networks"
    algorithm = superpixels.get("learnt")
    part = algorithm.part(2)
    assert part is not None and superpixels.get("slic").part(2) is None
    network = part.build(part.train(discs, TrainingRun(tmp_path), {}))
    image = discs.images.values[0]
    found = superpixels.segment(image, "learnt", 2, 1.0, (1, 2), network)
    bright = image > discs.images.values.mean()
    left, right = found[:, :16], found[:, 16:]
    assert found.dtype == "int32"
    assert (left == bright[:, :16]).all()
    assert (right == 2 + bright[:, 16:]).all()


def test_superpixels_may_not_take_a_name_either(install: Install) -> None:
    install({"umbench.superpixels": {"none": "planted_networks:LEARNT"}})
    with pytest.raises(ValueError, match="guidance without superpixels"):
        superpixels.algorithm_names()


LIGHT = """
import sys
from umbench_baselines import entries
from umbench_baselines.contracts import Perceptual
from umbench_baselines.guidance import superpixels

for name in entries.names():
    generator = entries.get(name)
    generator.parts(generator.Options(), Perceptual())
superpixels.get("slic").part(16)
print([name for name in ("torch", "scipy", "skimage", "pandas") if name in sys.modules])
"""


def test_naming_parts_loads_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_public_surface_is_served_on_demand() -> None:
    import umbench_baselines
    import umbench_baselines.public

    for name in umbench_baselines.public.__all__:
        assert getattr(umbench_baselines, name) is getattr(umbench_baselines.public, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        umbench_baselines.nothing  # noqa: B018
