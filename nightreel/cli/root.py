"""The `nightreel` command itself: its help and the options that come before a command."""

import os
from typing import Annotated

import typer

from nightreel import __version__
from nightreel.cli.options import Home, Verbose, asked_for, show_paths

app = typer.Typer(
    name="nightreel",
    help="Turn a short-video app's interaction logs into each user's top-K list in a SQL table, every night.",
    epilog="Settings come from nightreel.toml and NIGHTREEL_* variables; `nightreel settings` shows them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(value: bool) -> None:
    if value:
        print(f"nightreel {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    home: Home = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Verbose = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    asked_for.clear()
    show_paths(verbose)
    if debug:
        os.environ["NIGHTREEL_DEBUG_TRACEBACKS"] = "1"
