"""Expand a suite to a plan: paragraph by paragraph, from the data to the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from umbench_baselines import entries
from umbench_baselines.contracts import Budget
from umbench_baselines.guidance import superpixels
from umbench_metrics import registry as metrics
from umbench_metrics.extractors import TASKS
from umbench_metrics.extractors import source as extractor_source

from umbench.leaderboard.provenance import LeftOut, Method
from umbench.pipeline import Plan
from umbench.stages.values import (
    FOLDS,
    Arm,
    Board,
    Compare,
    Comparison,
    Control,
    Displayed,
    Extract,
    Folder,
    Guidance,
    ImageSource,
    Pairs,
    Phantom,
    Producer,
    Real,
    Sample,
    Score,
    Seen,
    Segment,
    Shares,
    Split,
    Superpixels,
    TaskNetwork,
    Told,
    Train,
    Utility,
)
from umbench.suite.preflight import Outline, check, outline
from umbench.suite.rows import Row, rows_of
from umbench.suite.schema import PAIR_CONTROLS, UTILITY, PairControl, Suite, View
from umbench.suite.usable import usable_extractors

if TYPE_CHECKING:
    from umbench_baselines.contracts import Part


@dataclass(frozen=True)
class Scored:
    """A method at one training seed, the set that it made, and the row that it comes from."""

    method: Method
    seed: int
    samples: Producer
    row: Row | None = None


def build_plan(suite: Suite) -> Plan:
    """All that a suite's board depends on.

    Every set is scored at the same number of images: the smallest of `samples`, the validation
    and the test split, so that the bias of small samples is the same for all.
    """
    return Plan(suite.name, _Planner(suite, outline(suite)).board())


class _Planner:
    """Builds stages as values: a value that is built twice is one stage."""

    def __init__(self, suite: Suite, found: Outline) -> None:
        self.suite = suite
        self.rows = rows_of(suite)
        split = check(suite, found)
        self.validation = int((split == "validation").sum())
        self.views, self.left_out = usable_extractors(suite, found, split)

    # -- data and guidance

    @cached_property
    def real(self) -> Real:
        """The set and who trains, validates and tests."""
        suite = self.suite
        data: Producer
        if suite.data.phantom is not None:
            data = Phantom(**suite.data.phantom.model_dump())
        else:
            data = folder_stage(Path(suite.data.folder or ""))
        shares = None if suite.splits == "given" else Shares(**suite.splits.model_dump())
        return Real(data, Split(data, shares, suite.labelled, suite.split_seed))

    @cached_property
    def guidance(self) -> Guidance:
        """Unsupervised masks; without superpixels the image itself is clustered."""
        return Guidance(self.real.data, self.superpixels, self.suite.guidance.t)

    @cached_property
    def superpixels(self) -> Superpixels | None:
        asked = self.suite.guidance
        if not superpixels.needs_segmentation(asked.superpixels):
            return None
        part = superpixels.get(asked.superpixels).part(asked.count)
        return Superpixels(
            self.real.data, asked.superpixels, asked.count, asked.compactness,
            module=superpixels.source(asked.superpixels),
            network=None if part is None else self.train(part, self.suite.training.seeds[0]),
        )  # fmt: skip

    # -- training and sampling

    def budget(self, *, untrained: bool = False) -> Budget:
        said = self.suite.training
        return Budget(said.preset, said.scale, untrained)

    def train(self, part: Part, seed: int, *, untrained: bool = False) -> Train:
        """A part, trained after those that it needs."""
        return Train(
            part=part,
            real=self.real,
            guidance=self.guidance if part.guidance else None,
            needs=tuple(self.train(need, seed, untrained=untrained) for need in part.needs),
            segmenter=self.segment(seed) if part.segmenter else None,
            budget=self.budget(untrained=untrained),
            seed=seed,
            precision=self.suite.training.precision,
        )

    @cached_property
    def samples(self) -> Mapping[tuple[str, int, bool], Sample]:
        """By row, seed, and whether the networks are untrained."""
        states = (False, True) if "untrained" in self.suite.controls else (False,)
        return {
            (row.name, seed, untrained): self._sample(row, seed, untrained)
            for seed in self.suite.training.seeds
            for row in self.rows
            for untrained in states
        }

    def sample(self, row: Row, seed: int, *, untrained: bool = False) -> Sample:
        return self.samples[row.name, seed, untrained]

    def _sample(self, row: Row, seed: int, untrained: bool) -> Sample:
        return Sample(
            generator=row.generator.name,
            source=entries.source(row.generator.name),
            name=row.name,
            options=row.options,
            networks=tuple(self.train(part, seed, untrained=untrained) for part in row.parts),
            real=self.real,
            guidance=self.guidance if row.generator.conditions == "guidance" else None,
            count=self.suite.samples,
            seed=seed,
        )

    @cached_property
    def scored(self) -> list[Scored]:
        """Rows of the leaderboard: generators, then controls, seed by seed."""
        found = []
        for seed in self.suite.training.seeds:
            for row in self.rows:
                method = Method(row.name, "generator", row.generator.name, row.generator.conditions)
                found.append(Scored(method, seed, self.sample(row, seed), row))
            for row in self.rows if "untrained" in self.suite.controls else ():
                method = Method(
                    f"{row.name} untrained", "untrained", row.generator.name,
                    row.generator.conditions,
                )  # fmt: skip
                made = self.sample(row, seed, untrained=True)
                found.append(Scored(method, seed, made, row))
            for control in ("real", "degraded"):
                if control in self.suite.controls:
                    images = Control(control, self.real, self.suite.samples, 0)
                    found.append(Scored(Method(control, control), seed, images))
        return found

    # -- the panel

    @cached_property
    def trained(self) -> Mapping[tuple[str, int], tuple[TaskNetwork, ...]]:
        """The networks behind each extractor at each seed; () where none is trained for it."""
        seeds, views = self.suite.training.seeds, self.views
        return {(v.id, seed): self._networks(v.id, seed) for v in views for seed in seeds}

    @cached_property
    def sources(self) -> Mapping[str, str]:
        """The module of each extractor."""
        return {view.id: extractor_source(view.id) for view in self.views}

    def _networks(self, extractor: str, seed: int) -> tuple[TaskNetwork, ...]:
        """One, or one per fold."""
        if extractor not in TASKS:
            return ()
        budget, precision = self.budget(), self.suite.training.precision
        if extractor != "source":
            return (TaskNetwork(extractor, self.real, budget, 0, precision),)
        return tuple(
            TaskNetwork(
                extractor, self.real, budget, seed, precision, self.told_apart(seed), fold, FOLDS
            )
            for fold in range(FOLDS)
        )

    def told_apart(self, seed: int) -> tuple[ImageSource, ...]:
        """What `source` tells from real images: every generator, and the controls."""
        sources = [ImageSource(row.name, (self.sample(row, seed),)) for row in self.rows]
        if "degraded" in self.suite.controls:
            sources.append(ImageSource("degraded", ()))
        if "untrained" in self.suite.controls:
            rows = sorted(self.rows, key=lambda row: row.name)  # their order teaches nothing
            made = tuple(self.sample(row, seed, untrained=True) for row in rows)
            sources.append(ImageSource("untrained", made))
        return tuple(sources)

    def features(self, scored: Scored | None, view: View, seed: int) -> Extract:
        """Of a method's images, or of the test images."""
        who = "reference" if scored is None else scored.method.name
        by_seed = view.id == "source" or (scored is not None and scored.row is not None)
        return Extract(
            extractor=view.id,
            input=view.input,
            module=self.sources[view.id],
            images=self.real.data if scored is None else scored.samples,
            networks=self.trained[view.id, seed],
            resolutions=tuple(self.suite.panel.resolutions),
            count=None if scored is None else self.suite.samples,
            split=self.real.split if scored is None else None,
            who=f"{who} {view.name}{f' seed {seed}' if by_seed else ''}",
        )

    def scores(self) -> tuple[Score, ...]:
        """Every metric of features that the suite names, of every method in every view."""
        known, seen = metrics.names(), tuple(
            Seen(
                scored.method, scored.seed, self.features(None, view, scored.seed),
                self.features(scored, view, scored.seed),
            )
            for scored in self.scored
            for view in self.views
        )  # fmt: skip
        normalisation = self.suite.statistics.normalisation
        return tuple(
            Score(name, normalisation, seen) for name in self.suite.metrics if name in known
        )

    # -- utility

    def segment(
        self, seed: int, arm: str = "", synthetic: Producer | None = None,
        pairs: Pairs | None = None,
    ) -> Segment:  # fmt: skip
        return Segment(
            self.real, self.budget(), seed, self.suite.training.precision, synthetic, pairs, arm
        )

    @cached_property
    def pairs(self) -> Mapping[PairControl, int]:
        """Controls of the utility, and how many real pairs each adds.

        As many as a generator, but where only the validation split has new ones.
        """
        held_out = min(self.suite.samples, self.validation)
        return {
            name: self.suite.samples if name == "copies" else held_out
            for name in PAIR_CONTROLS
            if name in self.suite.controls
        }

    def arms(self) -> tuple[Arm, ...]:
        """Real pairs alone and with those of every generator and control."""
        if UTILITY not in self.suite.metrics:
            return ()
        arms = []
        for seed in self.suite.training.seeds:
            arms.append(Arm("real", seed, self.segment(seed)))
            for row in self.rows:
                if row.annotates:
                    network = self.segment(seed, row.name, self.sample(row, seed))
                    arms.append(Arm(f"real+{row.name}", seed, network))
            for name, count in self.pairs.items():
                network = self.segment(seed, name, pairs=Pairs(name, count))
                arms.append(Arm(f"real+{name}", seed, network))
        return tuple(arms)

    # -- the board

    def board(self) -> Board:
        """The last stage: it shows what all others made."""
        suite, first = self.suite, self.suite.training.seeds[0]
        scores, tests = (
            self.scores(),
            Comparison(suite.statistics.permutations, suite.statistics.alpha),
        )
        return Board(
            scores=scores,
            compare=Compare(scores, scores[0].seen, suite.statistics.reference, tests),
            utility=Utility(arms, tests) if (arms := self.arms()) else None,
            verdict=suite.statistics.verdict,
            real=self.real,
            shown=tuple(
                Displayed(scored.method.name, scored.samples)
                for scored in self.scored
                if scored.seed == first
            ),
            told=self.told(),
            superpixels=self.superpixels if self.uses_guidance else None,
            left_out=(*self.left_out, *self.without_masks()),
            annotators={
                row.name: row.generator.annotator for row in self.rows if row.generator.annotator
            },
            suite=suite.model_dump(mode="json", exclude_none=True),
        )

    @property
    def uses_guidance(self) -> bool:
        """Whether any part sees unsupervised masks."""
        return any(part.guidance for row in self.rows for part in row.parts)

    def told(self) -> tuple[Told, ...]:
        """Networks, whose training may have something to say, and the rows that use each."""
        several = len(self.suite.training.seeds) > 1
        found: dict[Train, list[str]] = {}
        for row in self.rows:
            for part in row.parts:
                for seed in self.suite.training.seeds:
                    who = f"{row.name} (seed {seed})" if several else row.name
                    found.setdefault(self.train(part, seed), []).append(who)
        return tuple(Told(tuple(rows), network) for network, rows in found.items())

    def without_masks(self) -> list[LeftOut]:
        """Rows whose images cannot train a segmenter."""
        if UTILITY not in self.suite.metrics:
            return []
        why = "it makes images alone, without the masks that a segmenter learns from"
        return [LeftOut(f"utility of {row.name}", why) for row in self.rows if not row.annotates]


def folder_stage(path: Path) -> Folder:
    """The stage that reads a set from a folder, keyed by the folder's content."""
    from umbench.data.annotated_set import content_fingerprint

    return Folder(content_fingerprint(path), str(path))
