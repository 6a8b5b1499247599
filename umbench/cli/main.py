"""The command `umbench`: subcommands are imported when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from umbench import __version__
from umbench.errors import UmbenchError

COMMANDS = {
    "run": ("umbench.cli.run:run", "Run a suite, or go on with it; ends in a leaderboard."),
    "plan": (
        "umbench.cli.plan:plan",
        "Say for each stage of a suite whether it is there, and why not.",
    ),
    "data": ("umbench.cli.data:data", "Make, import and look at annotated sets."),
    "generators": ("umbench.cli.generators:generators", "The generators that a suite can name."),
    "extractors": (
        "umbench.cli.extractors:extractors",
        "The feature extractors that a suite can name.",
    ),
    "metrics": ("umbench.cli.metrics:metrics", "The metrics that a suite can name."),
    "doctor": ("umbench.cli.doctor:doctor", "Versions, devices, weights and disk of this machine."),
}


class Lazy(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none of that name."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="umbench")
def cli() -> None:
    """Is this generator any good, and how sure are we?

    Benchmarks generators of annotated chest CT: fidelity (MM-FID), variety (MM-STD) and utility,
    with tests between methods. Start with `umbench run quick`.
    """


def main() -> None:
    """Run the command line; every expected error is one line and an exit status."""
    try:
        cli(prog_name="umbench", standalone_mode=False)
    except click.ClickException as error:
        fail(_usage(error), 2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped; the same command goes on from here.", err=True)
        sys.exit(130)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except UmbenchError as error:
        fail(str(error), error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        # what no part of the program foresaw still is the system's fault, not the program's
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}; mend that and run the same command again", 2)


def fail(text: str, status: int) -> NoReturn:
    """End with one line on stderr per line of text."""
    for line in text.splitlines():
        click.echo(f"Error: {line}", err=True)
    sys.exit(status)


def _usage(error: click.ClickException) -> str:
    """One line for what click takes several for; a group without a command shows its help."""
    context = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    if isinstance(error, click.UsageError) and error.message == context.get_help():
        click.echo(error.message, err=True)
        sys.exit(2)
    text = " ".join(error.format_message().split()).rstrip(".")
    return f"{text}; see {context.command_path} --help"


if __name__ == "__main__":
    main()
