"""Where the numbers of a table come from: what every table and page says, and can be read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from umbench_metrics.metric import Column, Metric, Shown, can_be_resampled
from umbench_metrics.panel import ExtractorFacts

Kind = Literal["generator", "untrained", "real", "degraded", "pairs", "folder"]
Verdict = Literal["resampling", "wilcoxon"]


@dataclass(frozen=True)
class Method:
    """A row of the board.

    kind: `pairs` is an arm of the utility alone, which has no images of its own to score;
    `folder` is a third party's. entry: of the registry of generators, "" for what is none.
    conditions: what its images were made from, None where from noise or nobody knows.
    """

    name: str
    kind: Kind
    entry: str = ""
    conditions: Literal["masks", "guidance"] | None = None

    @property
    def ranked(self) -> bool:
        """Whether it is compared with others and has a tier; the rest are controls."""
        return self.kind in ("generator", "folder")

    @property
    def scored(self) -> bool:
        """Whether it has images of its own."""
        return self.kind != "pairs"


@dataclass(frozen=True)
class LeftOut:
    """Something that was asked for and is not in the tables."""

    what: str
    why: str


@dataclass(frozen=True)
class Presented:
    """What tables say of a metric, so that they can be read where the metric is not installed.

    raw: the score as it is measured, score: the one shown and tested. tested: whether its
    differences are. For the rest see `umbench_metrics.metric.Metric` and `Shown`.
    """

    name: str
    label: str
    aspect: str
    raw: str
    score: str
    scale: str
    tested: bool
    columns: tuple[Column, ...]
    explained: str
    reading: str
    values: str
    interval: str
    note: str = ""

    @classmethod
    def of(cls, metric: Metric, shown: Shown) -> Presented:
        """A metric as it says that it is to be shown."""
        return cls(
            name=metric.name,
            label=metric.label,
            aspect=metric.aspect,
            raw=metric.score,
            score=shown.score,
            scale=shown.scale,
            tested=can_be_resampled(metric),
            columns=tuple(metric.columns(shown)),
            explained=metric.explained(shown),
            reading=metric.reading(shown),
            values=metric.values,
            interval=metric.interval,
            note=shown.note,
        )

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Presented:
        """From JSON."""
        columns = tuple(Column(**column) for column in document["columns"])
        return cls(**{**document, "columns": columns})


@dataclass(frozen=True)
class Provenance:
    """What a board was computed from.

    methods: the rows, in the suite's order. metrics: those that were asked for, of which the first
    orders the board. verdict: the test that gives the tiers, Holm-adjusted, at
    `alpha`. reference: the method that others are told against. n_real, n_synthetic: images per
    set. notes: sentences below the board. settings: the suite as JSON.
    """

    suite: str
    methods: tuple[Method, ...]
    metrics: tuple[Presented, ...]
    verdict: Verdict
    alpha: float
    extractors: tuple[ExtractorFacts, ...]
    resolutions: tuple[int, ...]
    seeds: tuple[int, ...]
    n_real: int
    n_synthetic: int
    reference: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        """The normalisation of distances, "" where none is shown."""
        return next((metric.scale for metric in self.metrics if metric.scale), "")

    def document(self) -> dict[str, Any]:
        """As JSON."""
        out: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return out

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Provenance:
        """What `document` gave; TypeError or KeyError for anything else."""
        return cls(
            **{
                **document,
                "methods": tuple(Method(**item) for item in document["methods"]),
                "metrics": tuple(map(Presented.read, document["metrics"])),
                "extractors": tuple(map(ExtractorFacts.read, document["extractors"])),
                "left_out": tuple(LeftOut(**item) for item in document["left_out"]),
                **{key: tuple(document[key]) for key in ("resolutions", "seeds", "notes")},
            }
        )
