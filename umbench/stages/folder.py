"""Stage `folder`: read a set strictly and keep a copy that later edits cannot change."""

from __future__ import annotations

from pathlib import Path

from umbench.data.annotated_set import content_fingerprint, read_set, write_set
from umbench.errors import InputError
from umbench.pipeline import Context
from umbench.stages.artifacts import SET


def run(context: Context) -> None:
    """Params: fingerprint of the content; local: path of the folder."""
    path = Path(context.stage.local["path"])
    data = read_set(path)
    if content_fingerprint(path) != context.stage.params["fingerprint"]:
        raise InputError(f"{path}: changed while it was read; run the same command again")
    write_set(context.output / SET, data)
