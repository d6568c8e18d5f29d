"""Options that several commands share; those that act do so through their callbacks."""

import os
from pathlib import Path
from typing import Annotated

import typer

PATHS, JSON = "paths", "json"


# What this command prints besides its main facts: paths, JSON.
asked_for: set[str] = set()


def use_home(value: Path | None) -> Path | None:
    """Make this the home of the process and of those that it starts."""
    # Through the environment, so that the Feast repository in this process resolves the same home.
    if value is not None:
        from nightreel.core.settings import url_of

        os.environ["NIGHTREEL_HOME"] = url_of(value) or str(value.expanduser().resolve())
    return value


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        callback=use_home,
        show_default="NIGHTREEL_HOME, else the folder of the nearest nightreel.toml, else this folder",
        help="Folder that everything is written below.",
    ),
]


def show_paths(value: bool) -> bool:
    """Remember that paths are to be printed."""
    if value:
        asked_for.add(PATHS)
    return value


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=show_paths, help="Print the paths read and written too.")
]


def say_in_json(value: bool) -> bool:
    """Remember that the result is to be printed as JSON."""
    if value:
        asked_for.add(JSON)
    return value


StepJson = Annotated[
    bool,
    typer.Option("--json", callback=say_in_json, help="Print the result as a JSON line, for machines."),
]


Force = Annotated[bool, typer.Option("--force", help="Do the work even if nothing has changed.")]


# The largest values that the columns of both databases hold.
ID_MAX, RUN_ID_MAX = 2**63 - 1, 2**31 - 1


# An id may look like an option: -5, or --alice.
ANY_ID = {"ignore_unknown_options": True}


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="INSTANT",
        show_default="the end of the data's last day",
        help="Score with what was known at this instant, e.g. 2020-08-15T02:00:00+08:00. Lists of an earlier "
        "instant than by default are a replay: stored, not shown.",
    ),
]


Publish = Annotated[bool, typer.Option("--publish", help="Show the lists to apps even if they are a replay.")]


RunId = Annotated[
    int | None,
    typer.Option(
        "--run",
        metavar="RUN_ID",
        max=RUN_ID_MAX,
        show_default="the one that apps read",
        help="A run that is kept.",
    ),
]
