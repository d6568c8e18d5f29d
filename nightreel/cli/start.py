"""The command that starts a home from a log: `init`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightreel.cli.options import Home
from nightreel.cli.root import app
from nightreel.core.errors import InputError


class Layout(StrEnum):
    """Well-known logs."""

    MOVIELENS = "movielens"
    KUAIREC = "kuairec"
    KUAIRAND = "kuairand"
    LASTFM = "lastfm"


def _column(of: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="COLUMN", show_default="by name and values", help=f"Column with {of}."
    )
    return option


@app.command()
def init(
    path: Annotated[
        str | None,
        typer.Argument(
            show_default="asked for",
            help="The log: a file, a pattern, a folder of Parquet, or a query like `sql:SELECT ...`; of "
            "--example its folder.",
        ),
    ] = None,
    plays: Annotated[
        str | None,
        typer.Option(
            metavar="LOG",
            show_default="PATH",
            help="The same as PATH. A query is sent to the database of NIGHTREEL_DATA_SOURCE_URL.",
        ),
    ] = None,
    example: Annotated[
        Layout | None, typer.Option(show_default="none", help="A well-known layout; nothing is downloaded.")
    ] = None,
    user: Annotated[str | None, _column("the users")] = None,
    item: Annotated[str | None, _column("the items")] = None,
    time: Annotated[str | None, _column("the times")] = None,
    play_time: Annotated[str | None, _column("the play time")] = None,
    length: Annotated[str | None, _column("the item's length")] = None,
    watch_ratio: Annotated[str | None, _column("play time over length")] = None,
    rating: Annotated[str | None, _column("ratings")] = None,
    weight: Annotated[str | None, _column("weights, such as counts of plays")] = None,
    event: Annotated[str | None, _column("kinds of events, weighted by --event-weights")] = None,
    value: Annotated[
        str | None,
        typer.Option(
            show_default="by name",
            help="Which of these columns holds a play's value: play_time, watch_ratio, rating, weight, "
            "event, or none.",
        ),
    ] = None,
    event_weights: Annotated[
        str | None,
        typer.Option(show_default="asked for", help="Weights of events, like `like=1,click=0.3,skip=0`."),
    ] = None,
    length_unit: Annotated[
        str | None,
        typer.Option(
            show_default="by the name, else asked for",
            help="Unit of the play time: milliseconds, seconds or minutes.",
        ),
    ] = None,
    like_threshold: Annotated[
        float | None,
        typer.Option(show_default="3.5 for up to 5 stars", help="A play whose value is above this is liked."),
    ] = None,
    time_format: Annotated[
        str | None,
        typer.Option(show_default="recognised", help="How times are written, as in [data.format] time."),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option(
            show_default="UTC, or asked for",
            help="The time zone in which days begin, also for times without a zone.",
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(show_default="recognised", help="The character between columns of the plays."),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(show_default="recognised", help="The character before decimals: a point or a comma."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(show_default="recognised", help="Encoding of the file.")
    ] = None,
    users: Annotated[
        str | None, typer.Option(metavar="LOG", show_default="none", help="Users' profiles: a file or query.")
    ] = None,
    items: Annotated[
        str | None, typer.Option(metavar="LOG", show_default="none", help="Items' profiles: a file or query.")
    ] = None,
    user_id: Annotated[str | None, _column("the user in the file of --users")] = None,
    item_id: Annotated[str | None, _column("the item in the file of --items")] = None,
    watermark: Annotated[
        str | None, _column("values that only grow, for plays from a query; later nights ask for higher ones")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: ambiguity is an error.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a nightreel.toml.")] = False,
    home: Home = None,
) -> None:
    """Look at a log of any layout, show ten rows as nightreel understands them, and write nightreel.toml."""
    import os

    from nightreel.core import printing
    from nightreel.operations.init import draft_of, require_new, rows_of, write

    options = {
        "user": user, "item": item, "time": time, "play_time": play_time, "length": length,
        "watch_ratio": watch_ratio, "rating": rating, "weight": weight, "event": event, "value": value,
        "event_weights": event_weights, "length_unit": length_unit,
        "time_format": time_format, "time_zone": time_zone,
        "like_threshold": None if like_threshold is None else str(like_threshold), "encoding": encoding,
        "delimiter": delimiter, "decimal": decimal, "users": users, "items": items, "user_id": user_id,
        "item_id": item_id, "watermark": watermark,
    }  # fmt: skip
    given = {name: text for name, text in options.items() if text is not None}

    def ask(question: str, option: str, choices: list[str]) -> str:
        if option.replace("-", "_") in given:
            return given[option.replace("-", "_")]
        of = f" ({', '.join(choices)})" if choices else ""
        if yes:
            raise InputError(f"{question}{of}", f"Give --{option}.")
        while True:
            answer: str = typer.prompt(f"{printing.shown(question)}{printing.shown(of)}")
            if not choices or answer in choices:
                return answer
            typer.echo(printing.shown(f"{answer}: none of {', '.join(choices)}."))

    folder = Path(os.environ.get("NIGHTREEL_HOME") or Path.cwd())
    file = require_new(folder, overwrite=overwrite)
    if path is not None and plays is not None:
        raise InputError("PATH and --plays are two logs.", "Give one of them.")
    log = path or plays or ask("Where is the log? A file, a pattern, or sql:SELECT ...", "plays", [])
    draft = draft_of(log, given, ask, layout=None if example is None else example.value)
    rows, wrong = rows_of(draft)
    if rows:
        typer.echo("The first plays as they are understood:")
        printing.print_table(rows, indent="  ")
    for note in [*draft.notes, wrong] if wrong else draft.notes:
        typer.echo(printing.shown(note))
    if not yes and not typer.confirm(f"Write {file}?", default=True):
        raise typer.Exit(1)
    write(draft, file)
    typer.echo(f"{printing.shown(file)} is written. `nightreel run` makes the lists.")
