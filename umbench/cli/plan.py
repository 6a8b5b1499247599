"""`umbench plan`: what a run would do."""

from __future__ import annotations

from pathlib import Path

import click

from umbench.cli.run import suite_options


@click.command()
@suite_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def plan(
    suite: str, data: Path | None, overrides: tuple[str, ...], store: Path, as_json: bool
) -> None:
    """Say for each stage of SUITE whether its result is in the store and, if not, why not."""
    import json

    from umbench.engine.status import status
    from umbench.stages import KINDS
    from umbench.store import Store
    from umbench.suite.cost import explain
    from umbench.suite.loader import load_suites
    from umbench.suite.plan import build_plan

    documents = []
    for arm in load_suites(suite, overrides=overrides, data=data):
        rows = status(build_plan(arm), Store(store), KINDS)
        if as_json:
            stages = [
                {
                    "id": r.stage.id,
                    "kind": r.stage.kind,
                    "key": r.key,
                    "present": r.present,
                    "why": r.why,
                }
                for r in rows
            ]
            documents.append({"suite": arm.name, "stages": stages})
            continue
        click.echo(f"{arm.name}: {sum(r.present for r in rows)} of {len(rows)} stages there")
        width = max(len(row.stage.id) for row in rows)
        for row in rows:
            click.echo(f"  {row.stage.id:<{width}}  {'there' if row.present else row.why}")
        if arm.training.preset == "paper":
            click.echo(explain(arm))
    if as_json:
        click.echo(json.dumps(documents, indent=1))
