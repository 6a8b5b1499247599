"""The A/A check: how often does a test tell one generator's output from itself?

    python benchmarks/calibration.py SUITE [--generator um2i] [--draws 200] [--samples N] [--json]

Takes the features of a finished run (`umbench run SUITE` with the same --store, --set and --data),
splits one generator's images into two random halves, many times, and compares the halves as stage
`compare` compares two generators. At the 5 % level a test should reject in 5 % of the draws.

No two images start from one condition, so halves are never paired. Draws are independent splits
of one pool of images: intervals are about splits of that pool. A half is smaller than a set of
the leaderboard; `--samples` with twice the suite's number makes it as large. It draws that many
images from the trained parts and keeps them and their features in the store.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import binomtest
from umbench_metrics.frechet import frechet_distance
from umbench_metrics.variety import feature_std

from umbench.cli.progress import RunDisplay
from umbench.cli.run import suite_options
from umbench.engine.keys import stage_keys
from umbench.engine.local import execute
from umbench.errors import InputError, UmbenchError
from umbench.pipeline import Context, Stage
from umbench.stages import KINDS
from umbench.stages.compare import _sightings, scale_name
from umbench.stages.scores import FRECHET, VARIETY, read_observations
from umbench.statistics.paired import wilcoxon_paired
from umbench.statistics.resampling import Sighting, _strata, permutation_test, variety_test
from umbench.store import Store
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan
from umbench.suite.schema import Suite

LEVEL = 0.05
TESTS = {FRECHET: permutation_test, VARIETY: variety_test}
RESAMPLING, PAPER = "permutation over images", "Wilcoxon over observations"

Pools = Mapping[str, Sequence[Sighting]]
"""Per metric one sighting per training seed and observation; `a` holds the whole pool."""


@dataclass(frozen=True)
class Rate:
    """How often one test called two halves of one output different."""

    metric: str
    test: str
    rejections: int
    draws: int

    def document(self) -> dict[str, Any]:
        """With the rate and its interval (Clopper and Pearson, 95 %)."""
        low, high = binomtest(self.rejections, self.draws).proportion_ci(0.95, method="exact")
        rate = self.rejections / self.draws
        return {**asdict(self), "rate": rate, "low": float(low), "high": float(high)}


def rejection_rates(
    pools: Pools,
    *,
    draws: int,
    permutations: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
) -> list[Rate]:
    """Rejections at 5 % over random halves, the same halves for every metric and test."""
    generator = np.random.default_rng(seed)
    found = {(metric, test): 0 for metric in pools for test in (RESAMPLING, PAPER)}
    for _ in range(draws):
        halves = split(next(iter(pools.values())), generator)
        shuffles = int(generator.integers(2**32))
        for metric, pool in pools.items():
            sightings = [halved(sighting, *halves[sighting.group]) for sighting in pool]
            tested = p_values(metric, sightings, permutations=permutations, seed=shuffles)
            for test, p in tested.items():
                found[metric, test] += p <= LEVEL
        progress()
    return [Rate(metric, test, count, draws) for (metric, test), count in found.items()]


def split(
    pool: Sequence[Sighting], generator: np.random.Generator
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Training seed -> image numbers of two random halves, in the same folds place by place.

    An odd image of a fold is left out, another one in each draw.
    """
    out = {}
    for group in dict.fromkeys(sighting.group for sighting in pool):
        strata = _strata([sighting for sighting in pool if sighting.group == group])
        shuffled = [generator.permutation(numbers) for numbers in strata]
        pairs = [numbers[: len(numbers) // 2 * 2].reshape(2, -1) for numbers in shuffled]
        first, second = np.concatenate(pairs, axis=1)
        out[group] = (first, second)
    return out


def halved(pool: Sighting, first: np.ndarray, second: np.ndarray) -> Sighting:
    """The sighting of two methods that made these images of the pool."""
    a, b, rows = [], [], []
    for features, numbers in zip(pool.a, pool.numbers(), strict=True):
        place = np.full(sum(map(len, pool.a)), -1)
        place[numbers] = np.arange(len(numbers))
        here = np.flatnonzero(place[first] >= 0)
        a.append(features[place[first[here]]])
        b.append(features[place[second[here]]])
        rows.append(here)
    return replace(pool, a=a, b=b, rows=rows)


def p_values(
    metric: str, sightings: Sequence[Sighting], *, permutations: int, seed: int
) -> dict[str, float]:
    """Both tests of a against b; images of halves have no condition in common to pair them by."""
    resampled = TESTS[metric](sightings, permutations=permutations, seed=seed)
    return {RESAMPLING: resampled.p, PAPER: wilcoxon_paired(*scored(metric, sightings)).p}


def scored(metric: str, sightings: Sequence[Sighting]) -> np.ndarray:
    """(2, observations): what both methods score over each observation's scale, mean over seeds.

    On the anchored scale that is the leaderboard's value without the floor, which cancels in
    differences.
    """
    values = [
        [_score(metric, sighting, sighting.a), _score(metric, sighting, sighting.b)]
        for sighting in sightings
    ]
    seeds = len({sighting.group for sighting in sightings})
    out: np.ndarray = np.reshape(values, (seeds, -1, 2)).mean(axis=0).T
    return out


def _score(metric: str, sighting: Sighting, made: Sequence[np.ndarray]) -> float:
    """One method's value, mean over folds."""
    values = [
        frechet_distance(real, fold).value if metric == FRECHET else feature_std(fold)
        for real, fold in zip(sighting.real, made, strict=True)
    ]
    return float(np.mean(values) / sighting.scale)


@dataclass(frozen=True)
class Finished:
    """What the check needs of a finished run: `compare` narrowed to one generator, its inputs."""

    compare: Stage
    folders: Mapping[str, Path]
    scores: pd.DataFrame


def finished_run(
    suite: Suite, store: Store, generator: str, samples: int | None, *, quiet: bool
) -> Finished:
    """One generator's images as the run has them, or `samples` images drawn from its parts.

    InputError where the store holds no finished run of the suite.
    """
    plan = build_plan(suite)
    stages = {stage.id: stage for stage in plan.stages}
    compare = narrowed(stages["compare"], generator)
    inputs = dict(compare.inputs)
    required = list(inputs.values())
    added: list[Stage] = []
    if samples is not None:
        added, inputs = enlarged(stages, inputs, samples)
        required += [id for stage in added for id in stage.inputs.values() if id in stages]
    plan = replace(plan, stages=(*plan.stages, *added))
    keys = stage_keys(plan, KINDS)
    absent = [id for id in required if store.entry(keys[id]) is None]
    if absent:
        raise InputError(
            f"{suite.name}: no finished run in {store.root}, {absent[0]!r} is not there; "
            "`umbench plan` says why, `umbench run` makes it"
        )
    for stage in added:
        if store.entry(keys[stage.id]) is None:
            with RunDisplay(suite.name, quiet=quiet, log=None) as display:
                execute(replace(plan, final=stage.id), store, KINDS, display)
    folders = {role: store.root / "entries" / keys[id] for role, id in inputs.items()}
    return Finished(compare, folders, pd.read_csv(folders["scores"] / "scores.csv"))


def narrowed(compare: Stage, generator: str) -> Stage:
    """Stage `compare` with one generator, the reference and the scores alone."""
    known = [m["name"] for m in compare.params["methods"] if m["kind"] == "generator"]
    if generator not in known:
        names = ", ".join(dict.fromkeys(known))
        raise InputError(f"--generator {generator}: not in this suite, which has {names}")
    methods = [m for m in compare.params["methods"] if m["name"] == generator]
    kept = (generator, "reference", "scores")
    inputs = {role: id for role, id in compare.inputs.items() if role.split("|")[0] in kept}
    return replace(compare, params={**compare.params, "methods": methods}, inputs=inputs)


def enlarged(
    stages: Mapping[str, Stage], inputs: Mapping[str, str], samples: int
) -> tuple[list[Stage], dict[str, str]]:
    """Stages that draw so many images and extract their features, and the inputs with them.

    The suite's images come first and keep to their folds of a cross-fitted extractor; those
    beyond were seen by no network.
    """
    added: dict[str, Stage] = {}
    moved = dict(inputs)
    for role, id in inputs.items():
        seen = stages[id]
        if seen.kind != "features" or seen.params["reference"]:
            continue
        made, seen = (
            replace(s, id=f"{s.id}, {samples} images", params={**s.params, "count": samples})
            for s in (stages[seen.inputs["images"]], seen)
        )
        added[made.id] = made
        added[seen.id] = replace(seen, inputs={**seen.inputs, "images": made.id})
        moved[role] = seen.id
    return list(added.values()), moved


def pools_of(run: Finished) -> Pools:
    """The generator's observations, with what stage `compare` divides their differences by."""
    context = Context(run.compare, run.folders, Path(), Path(), lambda done, total, text: None)
    settings = run.compare.params["statistics"]
    panels = read_observations(context)
    return {
        metric: [
            sighting
            for (_, seed), panel in panels.items()
            for sighting in _sightings(panel, panel, run.scores, seed, metric, settings)
        ]
        for metric in TESTS
    }


def check(
    suite: Suite,
    store: Store,
    generator: str,
    samples: int | None,
    settings: Mapping[str, int],
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Rates for one suite and what they were computed from. settings: draws, permutations, seed."""
    run = finished_run(suite, store, generator, samples, quiet=quiet)
    params, pools = run.compare.params, pools_of(run)
    started, worked = time.monotonic(), time.process_time()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bars:
        task = bars.add_task(f"{suite.name}, draws", total=settings["draws"])
        rates = rejection_rates(pools, **settings, progress=lambda: bars.advance(task))
    pool, scale = pools[FRECHET], scale_name(run.scores, params["statistics"])
    first, _ = split(pool, np.random.default_rng(0))[pool[0].group]
    return {
        "suite": suite.name,
        "generator": generator,
        **settings,
        "level": LEVEL,
        "images": sum(map(len, pool[0].a)),
        "images_per_half": len(first),
        "reference_images": len(pool[0].real[0]),
        "observations": len(pool) // len(params["seeds"]),
        "extractors": params["extractors"],
        "resolutions": params["resolutions"],
        "training_seeds": params["seeds"],
        "scale": scale,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "rates": [rate.document() for rate in rates],
    }


def rendered(document: Mapping[str, Any]) -> Table:
    """The document as a table for the terminal."""
    d = document
    table = Table(
        "metric",
        "test",
        title=f"A/A check: two halves of {d['generator']} called different ({d['suite']})",
        caption=(
            f"{d['draws']} draws at the {d['level']:.0%} level; halves of {d['images_per_half']} "
            f"images against {d['reference_images']} real ones; {d['permutations']} permutations; "
            f"{d['observations']} observations: {', '.join(d['extractors'])} at "
            f"{', '.join(map(str, d['resolutions']))} px; distances {d['scale']}; training seeds "
            f"{', '.join(map(str, d['training_seeds']))}; seed {d['seed']}; "
            f"{d['seconds']:.0f} s, {d['cpu_seconds']:.0f} s of CPU"
        ),
        caption_justify="left",
    )
    for name in ("rejected", "95 % interval"):
        table.add_column(name, justify="right")
    for r in d["rates"]:
        shown = f"{r['low']:.1%} to {r['high']:.1%}"
        table.add_row(r["metric"], r["test"], f"{r['rejections']} ({r['rate']:.1%})", shown)
    return table


@click.command()
@suite_options
@click.option("--generator", default="um2i", show_default=True, help="Whose images.")
@click.option("--draws", type=click.IntRange(1), default=200, show_default=True)
@click.option("--permutations", type=click.IntRange(19), default=199, show_default=True)
@click.option("--samples", type=click.IntRange(8), help="Images to split; default: the suite's.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def calibration(
    suite: str,
    data: Path | None,
    overrides: tuple[str, ...],
    store: Path,
    generator: str,
    draws: int,
    permutations: int,
    samples: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """How often do the tests tell two halves of one generator's output in SUITE apart?"""
    settings = {"draws": draws, "permutations": permutations, "seed": seed}
    documents = [
        check(arm, Store(store), generator, samples, settings, quiet=as_json)
        for arm in load_suites(suite, overrides=overrides, data=data)
    ]
    if as_json:
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1))
        return
    for document in documents:
        Console(highlight=False).print(rendered(document))


def main() -> None:
    """Run the command; an expected error is one line and its exit status."""
    try:
        calibration()
    except UmbenchError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
