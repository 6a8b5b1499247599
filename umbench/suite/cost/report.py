"""Costs for people: a table per stage, and a few lines before a long run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from umbench.suite.cost.stages import StageCost, stage_costs

if TYPE_CHECKING:
    from rich.table import Table

    from umbench.pipeline import Plan
    from umbench.suite.schema import Suite

PAPER_GPUS = 4
"""Section IV.B of the paper: four of 24 GB."""


def device_count(suite: Suite) -> int:
    """GPUs to tell the cost for: those that are here, else the paper's for its preset."""
    import torch

    here = torch.cuda.device_count()
    return here or (PAPER_GPUS if suite.training.preset == "paper" else 0)


def render(name: str, costs: list[StageCost], gpus: int) -> Table:
    """One row per stage, of at most 100 columns; peaks and totals in the last.

    A third party's network may not tell what it takes; it is left out of the totals.
    """
    from rich.table import Table

    where = f"on {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "on the CPU"
    table = Table(
        title=f"{name}, {where}: PFLOP; GiB of memory per process (beside maps of files) and per "
        "GPU; GiB on disk, and while a stage runs",
        title_justify="left",
        width=100,
    )
    table.add_column("stage", overflow="fold")
    for heading in ("PFLOP", "host", "GPU", "disk", "scratch"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cost in costs:
        cells = _cells(cost.peta, cost.host, cost.device, cost.disk, cost.scratch)
        table.add_row(cost.id, *(cells if cost.known else ["unknown"]))
    table.add_section()
    what = "total" if all(cost.known for cost in costs) else "total of what is known"
    table.add_row(f"{what}; memory: the largest", *_cells(*totals(costs)))
    return table


def totals(costs: list[StageCost]) -> tuple[float, float, float, float, float]:
    """Sums of operations and disk; the largest of memory and of what is there for a time."""
    return (
        sum(cost.peta for cost in costs),
        max(cost.host for cost in costs),
        max(cost.device for cost in costs),
        sum(cost.disk for cost in costs),
        max(cost.scratch for cost in costs),
    )


def _cells(*values: float) -> list[str]:
    """Three digits that matter; nothing where there is nothing."""
    return ["" if not v else f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in values]


def cpu_speed(seconds: float = 0.5) -> float:
    """Operations per second of 3x3 convolutions on this CPU, measured now."""
    import torch
    from torch.nn import functional

    images, weights = torch.randn(2, 64, 128, 128), torch.randn(64, 64, 3, 3)
    operations = 2 * images.shape[0] * 64 * 64 * 9 * 128 * 128
    functional.conv2d(images, weights, padding=1)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        functional.conv2d(images, weights, padding=1)
        done += 1
    return operations * done / (time.perf_counter() - started)


def explain(suite: Suite, plan: Plan | None = None) -> str:
    """A few lines for people: the cost here, and how to run a small version."""
    import torch

    from umbench.suite.plan import build_plan

    gpus = torch.cuda.device_count()
    costs = stage_costs(suite, plan or build_plan(suite), gpus)
    total, host, device, disk, _ = totals(costs)
    dear = sorted(costs, key=lambda cost: cost.peta, reverse=True)[:4]
    parts = ", ".join(f"{cost.id} {cost.peta:,.3g}" for cost in dear)
    memory = f"{device:,.0f} GiB on each GPU" if gpus else f"{host:,.0f} GiB of memory"
    lines = [
        f"{suite.name}: {total:,.0f} PFLOP ({parts}, ...), {memory}, {disk:,.0f} GiB on disk; "
        f"umbench plan {suite.name} --cost tells of each stage."
    ]
    if gpus:
        return lines[0]
    speed = cpu_speed()
    days = total * 1e15 / speed / 86_400
    lines.append(
        f"This machine has no GPU; at the {speed / 1e9:,.0f} GFLOP/s measured now on its CPU that "
        f"is {days:,.0f} days. It can be stopped at any moment and goes on from there."
    )
    lines.append(
        "To run it small: umbench run quick, or the same comparison with --set "
        "training.preset=small --set training.precision=no --set data.phantom.size=128 "
        "--set data.phantom.subjects=240 --set splits.train=120 --set splits.validation=60 "
        "--set splits.test=60 --set labelled=40 --set samples=60 "
        "--set 'panel.resolutions=[64,128]'"
    )
    return "\n".join(lines)
