"""`umbench extractors`."""

from __future__ import annotations

import click


@click.group()
def extractors() -> None:
    """The feature extractors that a suite can name."""


@extractors.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_extractors(as_json: bool) -> None:
    """List the extractors and whether their weights are here."""
    import json

    from umbench.inventory import extractor_rows

    rows = extractor_rows()
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "ready", "remark", box=None)
    for row in rows:
        table.add_row(row["name"], "yes" if row["ready"] else "no", row["remark"])
    Console(highlight=False).print(table)
