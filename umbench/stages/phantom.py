"""Stage `phantom`: draw the procedural chest CT set."""

from __future__ import annotations

from umbench.data.annotated_set import write_set
from umbench.data.phantom import make_phantom_set
from umbench.pipeline import Context
from umbench.stages.artifacts import SET


def run(context: Context) -> None:
    """Params: subjects, size (montage side, px), seed, montages (per subject)."""
    params = context.stage.params
    data = make_phantom_set(
        params["subjects"],
        params["size"],
        params["seed"],
        montages=params["montages"],
        progress=context.progress,
    )
    write_set(context.output / SET, data)
