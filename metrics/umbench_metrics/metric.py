"""What a metric is: how it is measured, resampled and shown. One module declares one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeGuard

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from umbench_metrics.panel import Features

Direction = Literal["lower", "higher", "near 1", "near that of real"]
"""Which values are good."""


def in_words(direction: Direction) -> str:
    """Which values are good, for people.

    >>> in_words("lower"), in_words("near 1")
    ('lower is better', 'best near 1')
    """
    return f"{direction} is better" if direction in ("lower", "higher") else f"best {direction}"


@dataclass(frozen=True)
class Measured:
    """A value of one observation with its interval at 95 %; NaN where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Shown:
    """What a board shows and tests of a metric.

    metric: its name. score: in scores.csv. scale: the score's name for people, "" where the metric
    has one alone. note: why it is not the one that was asked for, or "".
    """

    metric: str
    score: str
    scale: str = ""
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the board: the mean (and SD) over observations of one score.

    name: in leaderboard.csv. score: in scores.csv. heading: in tables for people; "" where it is
    in the file alone. axis: of plots.
    """

    name: str
    score: str
    direction: Direction
    heading: str = ""
    axis: str = ""


@dataclass(frozen=True)
class Scaled:
    """Scores that follow from those of all methods, and what had to be left out of them.

    tables: rows as in scores.csv. left_out: score -> observation -> why.
    """

    tables: Sequence[pd.DataFrame] = ()
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """What scales over methods are made from.

    generators: the methods that span the paper's scale. normalisation: the scale that a suite asks
    for ("anchored", "minmax", "l2-rows").
    """

    generators: Sequence[str]
    normalisation: str


class Metric(Protocol):
    """A metric of two sets of features. Registered under `umbench.metrics`.

    name: in suites. score: of its raw value in scores.csv, with its direction and unit ("" where
    it has none). label: in tables and texts. aspect: what it looks at, as in "Fidelity". values:
    what raw values are called, and interval: what their interval at 95 % is, in a sentence; both
    "" where there is no interval.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    label: ClassVar[str]
    aspect: ClassVar[str]
    direction: ClassVar[Direction]
    unit: ClassVar[str]
    values: ClassVar[str]
    interval: ClassVar[str]

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The raw value of features (n_r, D) and (n_s, D) of one fold."""

    def value(self, real: Features, synthetic: Features, seed: int) -> Measured:
        """Of one observation, mean over folds, with its interval."""

    def scaled(self, raw: pd.DataFrame, span: Span) -> Scaled:
        """Further scores: raw values put on scales. `raw` holds this metric's rows alone."""

    def shown(self, scores: set[str], span: Span) -> Shown:
        """Which of its scores the board shows and tests, of those that there are."""

    def columns(self, shown: Shown) -> Sequence[Column]:
        """Of the board; the first is the one that people compare."""

    def explained(self, shown: Shown) -> str:
        """Below tables: what the numbers are and which are good. No full stop at the end."""

    def reading(self, shown: Shown) -> str:
        """How to read it, for the report: sentences, *emphasised* words; "" where clear."""


class Resampled(Metric, Protocol):
    """A metric whose differences can be tested by relabelling images."""

    def differences(
        self, real: np.ndarray, pool: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> np.ndarray:
        """Metric of some images minus that of others, (P,), of one fold.

        real: (n_r, D). pool: (m, D). first, second: (P, n) row numbers of the pool, which may
        repeat.
        """

    def size(self, real: np.ndarray, both: np.ndarray) -> float:
        """How large values are where both methods' images are one set: it cannot know whose they
        are. Of one fold, 0 or more.
        """

    def unit_of(self, raw: Mapping[str, float], shown: Shown) -> float | None:
        """What an observation's differences are divided by, from raw values of the controls there.

        raw: method -> raw value. None where they do not give one; then it is `size`.
        """


def can_be_resampled(metric: Metric) -> TypeGuard[Resampled]:
    """Whether a metric's differences can be tested by relabelling images."""
    return hasattr(metric, "differences")


def difference_unit(
    metric: Resampled,
    shown: Shown,
    raw: Mapping[str, float],
    real: Features,
    first: Features,
    second: Features,
) -> float:
    """What one observation's difference is divided by before it is averaged over observations.

    raw: method -> raw value there.
    """
    unit = metric.unit_of(raw, shown)
    if unit is not None:
        return unit
    folds = zip(real.folds, first.folds, second.folds, strict=True)
    return float(np.mean([metric.size(r, np.concatenate([a, b])) for r, a, b in folds])) or 1.0


class Plain:
    """A base for metrics that are shown as they are measured; see `Metric`.

    A subclass names itself and says what one fold's value is.
    """

    name: ClassVar[str]
    score: ClassVar[str]
    label: ClassVar[str]
    aspect: ClassVar[str]
    direction: ClassVar[Direction]
    means: ClassVar[str]
    """What its values are, in words that go on after the label and a colon."""
    unit: ClassVar[str] = ""
    values: ClassVar[str] = ""
    interval: ClassVar[str] = ""

    def of_fold(self, real: np.ndarray, synthetic: np.ndarray) -> float:
        """The raw value of features (n_r, D) and (n_s, D) of one fold."""
        raise NotImplementedError

    def value(self, real: Features, synthetic: Features, seed: int) -> Measured:
        """Mean over folds, without an interval."""
        folds = zip(real.folds, synthetic.folds, strict=True)
        return Measured(float(np.mean([self.of_fold(r, s) for r, s in folds])))

    def scaled(self, raw: pd.DataFrame, span: Span) -> Scaled:
        """None."""
        return Scaled()

    def shown(self, scores: set[str], span: Span) -> Shown:
        """The raw value."""
        return Shown(self.name, self.score)

    def columns(self, shown: Shown) -> Sequence[Column]:
        """One."""
        name = self.name.replace("-", "_")
        return (Column(name, shown.score, self.direction, self.label, self.label),)

    def explained(self, shown: Shown) -> str:
        """What its values are and which are good."""
        good = in_words(self.direction)
        return f"{self.label}: {self.means}, mean ± SD over observations; {good}"

    def reading(self, shown: Shown) -> str:
        """Nothing more."""
        return ""
