"""What can be known before anything is trained: whether a suite and its set fit each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from umbench_baselines.entries import get

from umbench.data.problems import Problems
from umbench.stages.artifacts import SplitTable
from umbench.stages.values import FOLDS
from umbench.suite.schema import Phantom, Suite

if TYPE_CHECKING:
    import pandas as pd

SIDE_STEP, LEAST_SIDE = 16, 32
"""Translators and segmenter halve the side four times; their discriminator needs 32 px."""


@dataclass(frozen=True)
class Outline:
    """A set without its pixels.

    name: how a message calls it. table: subject and split, one row per image. size: height and
    width. people: called with subjects, gives sex and age of each; "" and NaN where unknown.
    """

    name: str
    table: pd.DataFrame
    size: tuple[int, int]
    masks: bool
    people: Callable[[Iterable[str]], Iterator[tuple[str, float]]]


def outline(suite: Suite) -> Outline:
    """What set.json, metadata.csv and one picture's header tell of a suite's set."""
    if suite.data.phantom is not None:
        return _phantom(suite.data.phantom)
    return _folder(Path(suite.data.folder or ""))


def _phantom(phantom: Phantom) -> Outline:
    """What a phantom will be, without drawing it."""
    import pandas as pd

    from umbench.data.phantom.subjects import make_subject

    names = [f"P{number:05d}" for number in range(phantom.subjects)]
    table = pd.DataFrame({"subject": names * phantom.montages, "split": ""})

    def people(subjects: Iterable[str]) -> Iterator[tuple[str, float]]:
        for name in subjects:
            subject = make_subject(int(name[1:]), phantom.seed)
            yield subject.sex, subject.age

    return Outline("the phantom", table, (phantom.size, phantom.size), True, people)


def _folder(folder: Path) -> Outline:
    from umbench.data.annotated_set import has_masks, read_tables
    from umbench.data.pictures import read_size

    info, table = read_tables(folder)
    size = read_size(folder / table["file_name"].iloc[0], bits=info.encoding.bits)

    def people(subjects: Iterable[str]) -> Iterator[tuple[str, float]]:
        rows = table[table["subject"].isin(list(subjects))]
        yield from zip(rows["sex"], rows["age"], strict=True)

    return Outline(str(folder), table, size, has_masks(table), people)


def check(suite: Suite, found: Outline) -> pd.Series:
    """The split of each row; InputError has one line for each thing that could not be done."""
    from umbench.data.splits import split_rows

    problems = Problems()
    if not found.masks:
        problems.add(found.name, "no image has a mask, but generators learn from them; add some")
    height, width = found.size
    if height != width or height % SIDE_STEP or height < LEAST_SIDE:
        problems.add(
            found.name,
            f"images of {height} x {width} px, but generators need squares whose side is a "
            f"multiple of {SIDE_STEP} and at least {LEAST_SIDE}; resize them",
        )
    problems.stop()
    counts = None if suite.splits == "given" else suite.splits.model_dump()
    split, labelled = split_rows(found.table, counts, suite.labelled, suite.split_seed)
    subjects = found.table["subject"].to_numpy(dtype=str)
    _check_counts(suite, SplitTable(split.to_numpy(dtype=str), labelled, subjects), problems)
    problems.stop()
    return split


def _check_counts(suite: Suite, table: SplitTable, problems: Problems) -> None:
    count = {name: len(table.rows(name)) for name in ("train", "validation", "test")}
    usable = {kind: len(table.conditions(masks=kind == "masks")) for kind in ("masks", "guidance")}
    kinds = {choice.name: get(choice.id).conditions for choice in suite.generators}
    short = {
        name: usable[kind] for name, kind in kinds.items() if kind and suite.samples > usable[kind]
    }
    if short:
        problems.add(
            "samples",
            f"{suite.samples} asked of {', '.join(short)}, but validation and train hold "
            f"{min(short.values())} conditions; lower it or leave these entries out",
        )
    # a distance needs two images, and of those that are scored by folds two in each
    folds = FOLDS if "source" in [view.id for view in suite.panel.extractors] else 1
    least = {
        "validation": 2 * folds if "real" in suite.controls else 2,
        "test": 2 * folds if "degraded" in suite.controls else 2,
        "train": 2,
    }
    for name, needed in least.items():
        if count[name] < needed:
            problems.add(
                f"splits.{name}",
                f"{count[name]} images, but this suite needs {needed}; raise it",
            )
