"""The commands that show lists, and the runs that they are of."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightreel.cli.options import ANY_ID, ID_MAX, AsJson, Home, RunId
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, import_feast
from nightreel.core.errors import InputError

if TYPE_CHECKING:
    from scoring.database.list_rows import PopularRow, RelatedRow

_SELDOM = ("rule", "propensity", "arm")


@app.command(context_settings=ANY_ID)
def show(
    user_id: Annotated[
        str | None,
        typer.Argument(
            metavar="USER_ID",
            show_default="none",
            help="The user whose list to show, by the id in the log.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=ID_MAX, help="Rows to show.")] = 10,
    run_id: RunId = None,
    why: Annotated[
        str | None,
        typer.Option(
            "--why",
            metavar="VIDEO_ID",
            show_default="none",
            help="Say why this video is in the list, or why it is not, instead of showing the list.",
        ),
    ] = None,
    related: Annotated[
        str | None,
        typer.Option(
            "--related",
            metavar="VIDEO_ID",
            show_default="none",
            help="Show the videos related to this one instead of a user's list.",
        ),
    ] = None,
    popular: Annotated[
        bool, typer.Option("--popular", help="Show the popular videos instead of a user's list.")
    ] = False,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment",
            metavar="COLUMN=VALUE",
            show_default="everyone",
            help="With --popular: among users with this value.",
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show a user's list, a video's related videos or the popular ones, each row with its source."""
    from nightreel.core import printing
    from scoring.database.show import user_list

    if (user_id is not None) + (related is not None) + popular != 1:
        raise InputError("show: USER_ID, --related VIDEO_ID or --popular.", "Name one of them.")
    rows: Sequence[Mapping[str, Any]]
    if user_id is None:
        rows = _shared_rows(related, segment, limit, run_id)
        if why is not None:
            raise InputError("--why: only with USER_ID.", "Name the user whose list it is about.")
    elif segment is not None:
        raise InputError("--segment: only with --popular.", "Leave it out.")
    elif why is not None:
        _explain(user_id, why, run_id, as_json=as_json)
        return
    else:
        rows = user_list(command_settings(), user_id, limit, run_id=run_id)
    if as_json:
        printing.print_json(rows)
    else:
        # Columns of what few homes use are shown only if they hold something.
        empty = [name for name in _SELDOM if all(row.get(name) is None for row in rows)]
        printing.print_table(
            [{name: value for name, value in row.items() if name not in empty} for row in rows]
        )


def _shared_rows(
    related: str | None, segment: str | None, limit: int, run_id: int | None
) -> "Sequence[RelatedRow | PopularRow]":
    """Rows of the lists that are not a user's."""
    from scoring.database.show_shared import popular_list, related_list

    if related is not None:
        if segment is not None:
            raise InputError("--segment: only with --popular.", "Leave it out.")
        return related_list(command_settings(), related, limit, run_id=run_id)
    if segment is None:
        return popular_list(command_settings(), limit, run_id=run_id)
    name, equals, value = segment.partition("=")
    if not equals:
        raise InputError(f"--segment {segment}: no value.", "Write it like user_active_degree=full_active.")
    return popular_list(command_settings(), limit, segment=name, value=value, run_id=run_id)


def _explain(user: str, video: str, run_id: int | None, *, as_json: bool) -> None:
    from nightreel.core import columns, printing
    from nightreel.core.ids import Ids

    settings = command_settings()
    user_id = Ids.of(settings.paths, columns.USER_ID).given(user)
    video_id = Ids.of(settings.paths, columns.VIDEO_ID).given(video)
    import_feast()
    from scoring.explain import as_text, explain

    found = explain(settings, user_id, video_id, run_id=run_id)
    if as_json:
        printing.print_json(found.to_dict())
        return
    for line in as_text(found):
        if isinstance(line, str):
            print(printing.shown(line))
        else:
            printing.print_table(line, indent="  ")


@app.command()
def runs(as_json: AsJson = False, home: Home = None) -> None:
    """List the runs that are kept, newest first, and which of them apps read."""
    from nightreel.core import printing
    from scoring.database.history import list_runs

    rows = list_runs(command_settings())
    if as_json:
        printing.print_json(rows)
    elif not rows:
        print("no runs yet")
    else:
        printing.print_table(
            [{name: value for name, value in row.items() if name != "stages"} for row in rows]
        )
