"""Rows of a suite: each generator with its options, and the parts that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from umbench_baselines import entries

from umbench.suite.schema import GeneratorChoice, Suite
from umbench.suite.usable import perceptual_network

if TYPE_CHECKING:
    from pydantic import BaseModel
    from umbench_baselines.contracts import Generator, Part


@dataclass(frozen=True)
class Row:
    """A generator of the suite: what it is called, its entry, its options and its parts."""

    name: str
    generator: Generator
    options: BaseModel
    parts: tuple[Part, ...]

    @property
    def annotates(self) -> bool:
        """Whether its images come with masks."""
        return self.generator.annotates(self.options)


def rows_of(suite: Suite) -> list[Row]:
    """The rows of a suite, in its order."""
    return [_row(suite, choice) for choice in suite.generators]


def _row(suite: Suite, choice: GeneratorChoice) -> Row:
    generator = entries.get(choice.id)
    options = choice.options
    parts = generator.parts(options, perceptual_network(suite.training.perceptual))
    return Row(choice.name, generator, options, parts)
