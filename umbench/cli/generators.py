"""`umbench generators`."""

from __future__ import annotations

import click


@click.group()
def generators() -> None:
    """The generators that a suite can name."""


@generators.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_generators(as_json: bool) -> None:
    """List the generators with their parts, their guidance and who annotates."""
    import json

    from umbench_baselines.entries import describe

    rows = describe()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "makes", "parts", "starts from", "annotator", box=None)
    for row in rows:
        start = f"real {row['conditions']}" if row["conditions"] else "noise"
        table.add_row(
            row["name"],
            row["summary"],
            ", ".join(row["parts"]),
            start,
            row["annotator"] or "itself",
        )
    Console(highlight=False).print(table)
