"""`umbench generators`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from umbench_baselines.contracts import Generator


@click.group()
def generators() -> None:
    """The generators that a suite can name."""


@generators.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_generators(as_json: bool) -> None:
    """List the generators with their parts, their options, their guidance and who annotates."""
    import json

    from umbench_baselines import entries

    from umbench.errors import InputError

    try:
        rows = [_row(entries.get(name)) for name in entries.names()]
    except ValueError as error:
        raise InputError(str(error)) from None
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


def _row(generator: Generator) -> dict[str, Any]:
    """What people and programs are told of one; its parts are those by default options."""
    from pydantic import ValidationError
    from umbench_baselines.contracts import Perceptual

    try:
        parts = [part.name for part in generator.parts(generator.Options(), Perceptual())]
    except ValidationError:  # an option without a default
        parts = []
    return {
        "name": generator.name,
        "summary": generator.summary,
        "parts": parts,
        "options": {
            name: field.description or "" for name, field in generator.Options.model_fields.items()
        },
        "conditions": generator.conditions,
        "annotator": generator.annotator,
    }
