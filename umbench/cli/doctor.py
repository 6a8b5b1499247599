"""`umbench doctor`."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(as_json: bool) -> None:
    """Say what this machine has: versions, devices, extractors' weights, free disk."""
    import json

    from umbench.inventory import extractor_rows, machine

    facts = {**machine(), "extractors": extractor_rows()}
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    libraries = ", ".join(f"{k} {v or 'missing'}" for k, v in facts["libraries"].items())
    click.echo(f"umbench {facts['umbench']}, Python {facts['python']}")
    click.echo(f"libraries  {libraries}")
    gpus = ", ".join(facts["gpus"]) or "none: everything runs on the CPU"
    click.echo(f"CPUs       {facts['cpus']}\nGPUs       {gpus}")
    click.echo(f"free disk  {facts['free_disk_gib']} GiB here")
    click.echo("extractors")
    for row in facts["extractors"]:
        click.echo(f"  {'ready  ' if row['ready'] else 'missing'}  {row['name']}: {row['remark']}")
