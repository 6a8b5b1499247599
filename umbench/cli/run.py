"""`umbench run`: execute a suite's plan and show its leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from umbench.suite.schema import Suite

DEFAULT_STORE = ".umbench"


def suite_options(command: click.decorators.FC) -> click.decorators.FC:
    """Arguments that every command on a suite takes."""
    for option in (
        click.option("--store", type=click.Path(path_type=Path), envvar="UMBENCH_STORE",
                     default=DEFAULT_STORE, show_default=True, help="Where results are kept."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                     help="Override one key of the suite, as in guidance.t=10."),
        click.option("--data", type=click.Path(path_type=Path),
                     help="The annotated set that ${data} in the suite stands for."),
        click.argument("suite"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@suite_options
@click.option("--out", type=click.Path(path_type=Path), default="runs", show_default=True,
              help="Where run folders go.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="The leaderboard as JSON on stdout.")
@click.option("--engine", default="local", show_default=True,
              help="Where stages are made: local, or a plug-in's name.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 256),
              help="Stages at a time; by default one per core, 4 at most; on GPUs 2.")  # fmt: skip
def run(
    suite: str,
    data: Path | None,
    overrides: tuple[str, ...],
    store: Path,
    out: Path,
    quiet: bool,
    as_json: bool,
    engine: str,
    workers: int | None,
) -> None:
    """Run SUITE: a YAML file or the name of a shipped suite.

    Ends in a leaderboard here and in the run folder. The same command goes on where it was
    stopped, and does nothing twice.
    """
    from umbench.engine.engines import get_engine
    from umbench.running import run_suite
    from umbench.suite.loader import load_suites

    chosen = get_engine(engine)
    suites = load_suites(suite, overrides=overrides, data=data)
    for arm in suites:
        warn_of_cost(arm)
    for arm in suites:
        run_suite(arm, store, out / arm.name, engine=chosen, quiet=quiet, workers=workers)
    folders = [out / arm.name for arm in suites]
    if as_json:
        documents = [(folder / "leaderboard.json").read_text() for folder in folders]
        click.echo(documents[0] if len(documents) == 1 else "[" + ",\n".join(documents) + "]")
        return
    for folder in folders:
        show(folder)
    if len(suites) > 1:
        show_matrix(out / suites[0].name.split("/")[0], folders)


def warn_of_cost(suite: Suite) -> None:
    """Before a run of the paper's size on a CPU: what it costs, and how to run a small one."""
    if suite.training.preset == "paper":
        from umbench.suite.cost import explain

        click.echo(explain(suite), err=True)


def show(folder: Path) -> None:
    """Print a run folder's leaderboard on stdout."""
    from rich.console import Console

    from umbench.leaderboard.terminal import render_folder

    Console(highlight=False).print(render_folder(folder))
    click.echo(f"Report: {folder / 'report.html'}", err=True)


def show_matrix(folder: Path, arms: list[Path]) -> None:
    """Write and print one table over the arms of a matrix."""
    from rich.console import Console

    from umbench.leaderboard.matrix import combine, render_matrix

    matrix, path = combine(arms), folder / "matrix.csv"
    matrix.table.to_csv(path, index=False, float_format="%.10g", lineterminator="\n")
    Console(highlight=False).print(render_matrix(matrix))
    click.echo(f"Table: {path}", err=True)
