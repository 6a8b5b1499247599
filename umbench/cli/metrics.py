"""`umbench metrics`."""

from __future__ import annotations

from typing import Any

import click


@click.group()
def metrics() -> None:
    """The metrics that a suite can name."""


@metrics.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_metrics(as_json: bool) -> None:
    """List the metrics, which values are good, and whether methods are tested by them."""
    import json

    rows = metric_rows()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "looks at", "good is", "tested", "from", box=None)
    for row in rows:
        tested = "yes" if row["tested"] else "no"
        table.add_row(row["name"], row["aspect"], row["direction"], tested, row["source"])
    Console(highlight=False).print(table)


def metric_rows() -> list[dict[str, Any]]:
    """What people and programs are told of each metric; InputError where one cannot be had."""
    from umbench_metrics.metric import can_be_resampled
    from umbench_metrics.registry import get, names, source

    from umbench.errors import InputError
    from umbench.suite.schema import UTILITY

    try:
        found = [(get(name), source(name)) for name in names()]
    except ValueError as error:
        raise InputError(str(error)) from None
    rows: list[dict[str, Any]] = [
        {
            "name": metric.name,
            "label": metric.label,
            "aspect": metric.aspect,
            "direction": metric.direction,
            "unit": metric.unit,
            "tested": can_be_resampled(metric),
            "source": where,
        }
        for metric, where in found
    ]
    utility = {"label": "Dice", "aspect": "Utility", "direction": "higher", "unit": ""}
    own = "umbench_baselines.segmenter"
    return [*rows, {"name": UTILITY, **utility, "tested": True, "source": own}]
