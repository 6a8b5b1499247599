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
from umbench_metrics.metric import Resampled, can_be_resampled
from umbench_metrics.registry import get

from umbench.cli.progress import RunDisplay
from umbench.cli.run import suite_options
from umbench.engine.engines import execute
from umbench.engine.keys import stage_keys
from umbench.errors import InputError, UmbenchError
from umbench.pipeline import Plan, Stage
from umbench.stages.compare import paired_sightings
from umbench.stages.observations import read_observations
from umbench.stages.scores import SCORES, span
from umbench.stages.values import Board, Sample, Score, Seen
from umbench.statistics.paired import wilcoxon_paired
from umbench.statistics.resampling import Sighting, permutation_test, strata
from umbench.store import Store
from umbench.suite.loader import load_suites
from umbench.suite.plan import build_plan
from umbench.suite.schema import Suite

LEVEL = 0.05
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
            found_p = p_values(metric, sightings, permutations=permutations, seed=shuffles)
            for test, p in found_p.items():
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
        shared = strata([sighting for sighting in pool if sighting.group == group])
        shuffled = [generator.permutation(numbers) for numbers in shared]
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


def tested(name: str) -> Resampled:
    """A metric by name; ValueError where it has no test."""
    metric = get(name)
    if not can_be_resampled(metric):
        raise ValueError(f"{name} has no test by resampling")
    return metric


def p_values(
    metric: str, sightings: Sequence[Sighting], *, permutations: int, seed: int
) -> dict[str, float]:
    """Both tests of a against b; images of halves have no condition in common to pair them by."""
    differences = tested(metric).differences
    resampled = permutation_test(sightings, differences, permutations=permutations, seed=seed)
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
    of_fold = tested(metric).of_fold
    values = [of_fold(real, fold) for real, fold in zip(sighting.real, made, strict=True)]
    return float(np.mean(values) / sighting.scale)


@dataclass(frozen=True)
class Finished:
    """What the check needs of a finished run: scores, one generator as it was seen, and where.

    seen: of the generator alone. folders: entries of what `scores` and `seen` are made of.
    """

    scores: tuple[Score, ...]
    seen: tuple[Seen, ...]
    folders: Mapping[Stage, Path]


def finished_run(
    suite: Suite, store: Store, generator: str, samples: int | None, *, quiet: bool
) -> Finished:
    """One generator's images as the run has them, or `samples` images drawn from its parts.

    InputError where the store holds no finished run of the suite.
    """
    plan = build_plan(suite)
    assert isinstance(plan.final, Board)
    scores = plan.final.scores
    seen = as_seen(scores[0], generator)
    there(suite, store, [*scores, *(stage for s in seen for stage in (s.real, s.synthetic))])
    if samples is not None:
        seen = tuple(enlarged(s, samples) for s in seen)
        for stage in (s.synthetic for s in seen):
            with RunDisplay(suite.name, quiet=quiet, log=None) as display:
                execute(Plan(suite.name, stage), store, display)
    needed = [*scores, *(stage for s in seen for stage in (s.real, s.synthetic))]
    return Finished(scores, seen, there(suite, store, needed))


def there(suite: Suite, store: Store, stages: Sequence[Stage]) -> dict[Stage, Path]:
    """Where the entries of stages lie; InputError names one that is missing."""
    found: dict[Stage, Path] = {}
    keys: dict[Stage, str] = {}
    for stage in stages:
        if stage not in keys:
            keys |= stage_keys(Plan(suite.name, stage))
        entry = store.entry(keys[stage])
        if entry is None:
            raise InputError(
                f"{suite.name}: no finished run in {store.root}, {stage.label!r} is not there; "
                "`umbench plan` says why, `umbench run` makes it"
            )
        found[stage] = entry
    return found


def as_seen(score: Score, generator: str) -> tuple[Seen, ...]:
    """One generator in every view; InputError where the suite has no such one."""
    known = dict.fromkeys(s.method.name for s in score.seen if s.method.kind == "generator")
    if generator not in known:
        names = ", ".join(known)
        raise InputError(f"--generator {generator}: not in this suite, which has {names}")
    return tuple(s for s in score.seen if s.method.name == generator)


def enlarged(seen: Seen, samples: int) -> Seen:
    """The same with so many images, drawn from the trained networks.

    The suite's images come first and keep to their folds of a cross-fitted extractor; those
    beyond were seen by no network.
    """
    made, features = seen.synthetic.images, seen.synthetic
    assert isinstance(made, Sample)
    who = f"{features.who}, {samples} images"
    made = replace(made, count=samples)
    return replace(seen, synthetic=replace(features, images=made, count=samples, who=who))


def pools_of(run: Finished) -> Pools:
    """The generator's observations, with what stage `compare` divides their differences by."""
    panels = read_observations(run.folders.__getitem__, run.seen)
    pools = {}
    for score in run.scores:
        metric = get(score.metric)
        if not can_be_resampled(metric):
            continue
        table = pd.read_csv(run.folders[score] / SCORES)
        shown = metric.shown(set(table["metric"]), span(score))
        pools[score.metric] = [
            sighting
            for panel in panels.values()
            for sighting in paired_sightings(panel, panel, table, metric, shown)
        ]
    return pools


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
    pools, seeds = pools_of(run), list(dict.fromkeys(s.seed for s in run.seen))
    started, worked = time.monotonic(), time.process_time()
    with Progress(console=Console(stderr=True), transient=True, disable=quiet) as bars:
        task = bars.add_task(f"{suite.name}, draws", total=settings["draws"])
        rates = rejection_rates(pools, **settings, progress=lambda: bars.advance(task))
    pool = next(iter(pools.values()))
    first, _ = split(pool, np.random.default_rng(0))[pool[0].group]
    return {
        "suite": suite.name,
        "generator": generator,
        **settings,
        "level": LEVEL,
        "images": sum(map(len, pool[0].a)),
        "images_per_half": len(first),
        "reference_images": len(pool[0].real[0]),
        "observations": len(pool) // len(seeds),
        "extractors": list(dict.fromkeys(s.extractor for s in run.seen)),
        "resolutions": list(run.seen[0].synthetic.resolutions),
        "training_seeds": seeds,
        "scale": run.scores[0].normalisation,
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
