"""What the planted stages run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from planted_stages import Text

from umbench.errors import InputError
from umbench.pipeline import Context


def run(context: Context[Text]) -> dict[str, Any]:
    stage = context.stage
    started = time.monotonic()
    context.progress(1, 2, "half")
    time.sleep(stage.act.sleep)
    if stage.act.fail:
        raise InputError("planted: the key x is wrong")
    if stage.act.die:
        os.kill(os.getpid(), signal.SIGKILL)
    taken = (context.folder(input) / "text" for input in stage.inputs.values())
    text = "".join(sorted(path.read_text() for path in taken)) + stage.name * stage.times
    (context.output / "text").write_text(text)
    (context.output / "deep/er").mkdir(parents=True)
    (context.output / "deep/er/numbers").write_bytes(bytes(range(100)))
    if stage.act.spoil is not None:
        spoil(*stage.act.spoil)
    return {
        "name": stage.name,
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "time": (started, time.monotonic()),
    }


def spoil(marker: str, entries: str, text: str) -> None:
    """Change a text of the store, a while after it was written; once."""
    if Path(marker).exists():
        return
    Path(marker).touch()
    for path in Path(entries).glob("*/text"):
        if path.read_text() == text:
            later = path.stat().st_mtime_ns + 10**9
            path.write_text(text.swapcase())
            os.utime(path, ns=(later, later))
