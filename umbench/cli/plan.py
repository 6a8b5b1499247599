"""`umbench plan`: what a run would do, and what it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from umbench.cli.run import suite_options

if TYPE_CHECKING:
    from umbench.pipeline import Plan
    from umbench.suite.schema import Suite


@click.command()
@suite_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--cost", "with_cost", is_flag=True,
              help="Operations, memory and disk of each stage instead.")  # fmt: skip
@click.option("--gpus", type=click.IntRange(0, 1024),
              help="With --cost: on so many GPUs; by default those here, or 4 for the paper's "
              "preset, else none.")  # fmt: skip
def plan(
    suite: str,
    data: Path | None,
    overrides: tuple[str, ...],
    store: Path,
    as_json: bool,
    with_cost: bool,
    gpus: int | None,
) -> None:
    """Say for each stage of SUITE whether its result is in the store and, if not, why not."""
    import json

    from umbench.suite.loader import load_suites
    from umbench.suite.plan import build_plan

    if gpus is not None and not with_cost:
        raise click.UsageError("--gpus belongs to --cost")
    documents = []
    for arm in load_suites(suite, overrides=overrides, data=data):
        planned = build_plan(arm)
        if with_cost:
            document = _cost(arm, planned, gpus, quiet=as_json)
        else:
            document = _status(arm, planned, store, quiet=as_json)
        documents.append(document)
    if as_json:
        click.echo(json.dumps(documents, indent=1))


def _status(arm: Suite, plan: Plan, store: Path, *, quiet: bool) -> dict[str, Any]:
    """Which stages are there."""
    from umbench.engine.status import status
    from umbench.store import Store
    from umbench.suite.cost import explain

    rows = status(plan, Store(store))
    if not quiet:
        click.echo(f"{arm.name}: {sum(r.present for r in rows)} of {len(rows)} stages there")
        width = max(len(row.label) for row in rows)
        for row in rows:
            click.echo(f"  {row.label:<{width}}  {'there' if row.present else row.why}")
        if arm.training.preset == "paper":
            click.echo(explain(arm, plan))
    stages = [
        {
            "id": r.label,
            "stage": type(r.stage).__name__,
            "key": r.key,
            "present": r.present,
            "why": r.why,
        }
        for r in rows
    ]
    return {"suite": arm.name, "stages": stages}


def _cost(arm: Suite, plan: Plan, gpus: int | None, *, quiet: bool) -> dict[str, Any]:
    """What each stage takes."""
    from dataclasses import asdict

    from rich.console import Console

    from umbench.suite.cost import device_count, render, stage_costs, totals

    devices = device_count(arm) if gpus is None else gpus
    costs = stage_costs(arm, plan, devices)
    if not quiet:
        Console(width=100, highlight=False).print(render(arm.name, costs, devices))
    fields = ("peta", "host", "device", "disk", "scratch")
    return {
        "suite": arm.name,
        "gpus": devices,
        "units": {"peta": "PFLOP", **dict.fromkeys(fields[1:], "GiB")},
        "stages": [asdict(cost) for cost in costs],
        "total": dict(zip(fields, totals(costs), strict=True)),
    }
