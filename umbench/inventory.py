"""What is at hand on this machine: extractors and their weights, devices, disk."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import Any

from umbench import __version__

TRAINED = {
    "sex": "trained by the run on the set's own train split; needs sex in metadata.csv",
    "age": "trained by the run on the set's own train split; needs age in metadata.csv",
    "source": "trained by the run: real against every compared generator, cross-fitted",
}


def extractor_rows() -> list[dict[str, Any]]:
    """Name, whether it can be used here, and a remark, for every known extractor."""
    from umbench_metrics.extractors import available, names

    rows = []
    for name in names():
        ready, remark = available(name)
        rows.append({"name": name, "ready": ready, "remark": remark})
    rows += [{"name": name, "ready": True, "remark": remark} for name, remark in TRAINED.items()]
    return rows


def machine() -> dict[str, Any]:
    """Versions, devices and free disk."""
    import torch

    from umbench.engine.keys import library_versions

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "umbench": __version__,
        "python": platform.python_version(),
        "libraries": library_versions(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
        "bf16": bool(gpus) and torch.cuda.is_bf16_supported(),
        "free_disk_gib": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
    }
