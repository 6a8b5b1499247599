"""The run folder: what people open after a run."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from umbench import __version__
from umbench.errors import explained
from umbench.pipeline import Plan, Stage
from umbench.store import RESULT, replacing
from umbench.suite.schema import Suite
from umbench.temporaries import beside


def prepare(folder: Path) -> None:
    """Make the folder; InputError where it cannot be written, before the run and not after it."""
    with explained(folder, "--out"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.log").open("a").close()
        probe = beside(folder / "probe")
        try:
            probe.write_bytes(bytes(65_536))
        finally:
            probe.unlink(missing_ok=True)


def fill(folder: Path, suite: Suite, plan: Plan, entries: Mapping[Stage, Path]) -> None:
    """Copy the final tables, report and pictures from the store, each file at once.

    Only what the entry lists is copied.
    """
    source = entries[plan.final]
    with explained(folder, "--out"):
        for name in sorted(json.loads((source / RESULT).read_text())["files"]):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                shutil.copyfile(source / name, temporary)
        _write(folder / "suite.yaml", resolved_yaml(suite))
        _write(folder / "environment.json", environment(plan, entries))


def resolved_yaml(suite: Suite) -> str:
    """The suite with every default filled in."""
    import io

    from ruamel.yaml import YAML

    buffer = io.StringIO()
    YAML(typ="safe").dump(suite.model_dump(mode="json", exclude_none=True), buffer)
    return buffer.getvalue()


def environment(plan: Plan, entries: Mapping[Stage, Path]) -> str:
    """Versions, machine, and for each stage seconds, device and peak memory, as JSON."""
    from umbench.engine.keys import library_versions

    stages = {}
    for stage in plan.stages:
        if stage in entries:
            result = json.loads((entries[stage] / RESULT).read_text())
            names = (
                "key",
                "seconds",
                "device",
                "peak_memory_mib",
                "peak_memory_of_all_processes_mib",
                "peak_gpu_memory_mib",
                "measured",
            )
            stages[plan.labels[stage]] = {name: result[name] for name in names if name in result}
    facts = {
        "umbench": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "libraries": library_versions(),
        "stages": stages,
    }
    return json.dumps(facts, indent=1, sort_keys=True) + "\n"


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
