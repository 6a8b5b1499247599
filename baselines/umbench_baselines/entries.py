"""The generators that suites can name. Nothing heavy is imported to list them."""

from __future__ import annotations

from umbench_baselines.contracts import Generator
from umbench_baselines.registry import Registry

CONTROLS = ("real", "degraded", "untrained", "copies", "held-out", "shuffled")
"""Rows and arms of a benchmark beside its generators, which share their names with nobody."""

GENERATORS: Registry[Generator] = Registry(
    noun="generator",
    group="umbench.generators",
    kind=Generator,  # type: ignore[type-abstract]
    built_in={
        "m2i": "umbench_baselines.translation.generators:M2I",
        "v2m2i": "umbench_baselines.chains:V2M2I",
        "um2i": "umbench_baselines.translation.generators:UM2I",
        "v2um2i": "umbench_baselines.chains:V2UM2I",
        "datasetgan": "umbench_baselines.datasetgan.generator:DATASETGAN",
    },
    reserved=dict.fromkeys(CONTROLS, "a control"),
)


def names() -> list[str]:
    """Names of all registered generators, those of third parties included."""
    return GENERATORS.names()


def get(name: str) -> Generator:
    """The generator called `name`; ValueError names the nearest one where there is none."""
    return GENERATORS.get(name)


def source(name: str) -> str:
    """The module whose source, with all that it imports, decides what a generator draws.

    Beside the sources of its parts.
    """
    return GENERATORS.source(name)


def option_names(name: str) -> list[str]:
    """What a suite may say of a generator."""
    return sorted(get(name).Options.model_fields)
