"""What this machine and this set can serve: decided in the plan, so that it is part of the key."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from umbench_metrics.extractors.age import age_group

from umbench.errors import InputError
from umbench.leaderboard.provenance import LeftOut
from umbench.suite.preflight import Outline
from umbench.suite.schema import Suite, View

if TYPE_CHECKING:
    import pandas as pd
    from umbench_baselines.contracts import Perceptual


def perceptual_network(name: str) -> Perceptual:
    """Name and SHA-256 of the network that a perceptual loss will use; `auto` is decided here.

    InputError where its weights are missing or not the pinned ones.
    """
    from umbench_baselines.contracts import Perceptual
    from umbench_baselines.weights import resolve_perceptual

    try:
        network, sha256 = resolve_perceptual(name)
    except ValueError as error:
        raise InputError(f"training.perceptual: {error}") from None
    return Perceptual(network, sha256)


def usable_extractors(
    suite: Suite, found: Outline, split: pd.Series
) -> tuple[list[View], list[LeftOut]]:
    """Extractors that this machine and this set can serve, and the others with the reason."""
    used, left_out = [], []
    train = list(dict.fromkeys(found.table.loc[split == "train", "subject"]))
    for view in suite.panel.extractors:
        if view.id in ("sex", "age"):
            ready = _several_known(view.id, found.people(train))
            why = f"fewer than two classes of {view.id} are known in train"
        elif view.id == "source":
            ready, why = True, ""
        else:
            ready, why = _weights(view.id)
        if ready:
            used.append(view)
        else:
            left_out.append(LeftOut(f"extractor {view.name}", why))
    if not used:
        raise InputError(
            "panel.extractors: none can be used here: "
            + "; ".join(f"{item.what}: {item.why}" for item in left_out)
        )
    return used, left_out


@functools.cache
def _weights(name: str) -> tuple[bool, str]:
    """Whether an extractor's weights are here, or where they would have to be.

    InputError where they are not the pinned ones, which would else be found after all trainings.
    """
    from umbench_metrics.extractors import BUILT_IN, available, check_sha256

    ready, where = available(name)
    if ready and name in BUILT_IN:
        module = importlib.import_module(BUILT_IN[name])
        try:
            check_sha256(module.weights_path(), module.SHA256)
        except ValueError as error:
            raise InputError(f"extractor {name}: {error}") from None
    return ready, where


def _several_known(name: str, people: Iterator[tuple[str, float]]) -> bool:
    """Whether two classes of sex or age group occur; looks no further than needed."""
    seen: set[object] = set()
    for sex, age in people:
        if name == "sex":
            seen |= {sex} - {""}
        elif age == age:  # known
            seen.add(age_group(age))
        if len(seen) > 1:
            return True
    return False
