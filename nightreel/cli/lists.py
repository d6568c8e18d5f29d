"""The commands that look at the published lists, and those that change which of them there are."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nightreel.cli.options import ANY_ID, ID_MAX, RUN_ID_MAX, AsJson, Home, RunId, StepJson
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, import_feast, note_timing, report_step, with_progress
from nightreel.core.errors import InputError

_SELDOM = ("rule", "propensity", "arm")


class Lists(StrEnum):
    """The kind of lists to export."""

    users = "users"
    related = "related"
    popular = "popular"


@app.command(context_settings=ANY_ID)
def show(
    user_id: Annotated[
        str | None,
        typer.Argument(
            metavar="USER_ID",
            show_default="none",
            help="The user whose list to show, as the log names them.",
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
        bool, typer.Option("--popular", help="Show what is popular instead of a user's list.")
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
    """Show a user's list, a video's related ones or what is popular: each row with where it came from."""
    from nightreel.core import printing
    from scoring.database.show import user_list

    if (user_id is not None) + (related is not None) + popular != 1:
        raise InputError("show: USER_ID, --related VIDEO_ID or --popular.", "Name one of them.")
    if user_id is None:
        rows = _shared_rows(related, segment, limit, run_id)
        if why is not None:
            raise InputError("--why: only with USER_ID.", "Name the user whose list it is of.")
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
        # Columns of what few homes do are shown where there is something in them.
        empty = [name for name in _SELDOM if all(row.get(name) is None for row in rows)]
        printing.print_table([{name: row[name] for name in row if name not in empty} for row in rows])


def _shared_rows(
    related: str | None, segment: str | None, limit: int, run_id: int | None
) -> list[dict[str, Any]]:
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
        printing.print_table([{name: row[name] for name in row if name != "stages"} for row in rows])


@app.command()
def scorecard(
    days: Annotated[
        int, typer.Option(min=1, max=36_500, help="Nights of so many days, up to the last.")
    ] = 30,
    replays: Annotated[
        bool, typer.Option("--replays", help="Nights that were made again later, which no app read.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Count first what has been played since; each night does.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say what was made of each night's lists: whom they reached, beside yesterday's popularity."""
    from nightreel.core import printing
    from scoring.outcomes.scorecard import as_rows, rows_of_arms
    from scoring.outcomes.scorecard import scorecard as step

    settings = command_settings()
    if update:
        from scoring.outcomes import record_outcomes

        record_outcomes(settings)
    card = step(settings, days=days, replays=replays)
    if as_json:
        printing.print_json(card)
        return
    for line in card["alarms"]:
        print(f"out of the band: {printing.shown(line)}")
    if card["arms"]:
        printing.print_table(rows_of_arms(card))
    if card["nights"]:
        printing.print_table(as_rows(card))
    else:
        print("no night has been counted yet: each scheduled night counts, and so does --update")


@app.command()
def drift(
    every: Annotated[
        bool, typer.Option("--all", help="Every feature, not only what has moved since training.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Compare first the newest day; each night does.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say how far the newest day's features, scores and plays are from those that trained the champion."""
    from nightreel.core import printing
    from nightreel.operations.drift.stored import nights

    settings = command_settings()
    if update:
        import_feast()
        from nightreel.operations.drift.recording import record_drift

        record_drift(settings)
    night = next(iter(nights(settings.paths)), None)
    if as_json:
        printing.print_json(night)
    elif night is None:
        print("no night has been compared yet: each scheduled night compares, and so does --update")
    else:
        _print_drift(night, every=every)


def _print_drift(night: dict[str, Any], *, every: bool) -> None:
    from nightreel.core import printing

    moved = [column for column in night["columns"] if column["moved"]]
    plays, liked = night["plays"], night["liked"]
    print(f"plays of {night['night']}, beside the training window of model {night['model_version']}")
    print(f"plays: {plays['day']:,}, usual {plays['usual']:,.0f}{' (moved)' if plays['moved'] else ''}")
    was = f"in training {liked['training']:.1%}"
    print(f"liked: {liked['day']:.1%}, {was}{' (moved)' if liked['moved'] else ''}")
    print(f"features and scores: {len(moved)} of {len(night['columns'])} moved")
    printing.print_table(night["columns"] if every else moved)


@app.command()
def compare(
    run_id: Annotated[int, typer.Argument(max=RUN_ID_MAX, help="A run that is kept, published or stored.")],
    other_id: Annotated[
        int | None,
        typer.Argument(
            metavar="[OTHER]", max=RUN_ID_MAX, show_default="the one that apps read", help="Another."
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say how far the lists of two runs agree."""
    from nightreel.core import printing
    from scoring.database.compare import compare as step

    settings = command_settings()
    found, seconds = with_progress(lambda: step(settings, run_id, other_id), "compare")
    note_timing("compare", seconds)
    if as_json:
        printing.print_json(found)
    else:
        printing.print_table([{"what": name.replace("_", " "), "value": found[name]} for name in found])


@app.command()
def export(
    file: Annotated[
        Path | None,
        typer.Argument(show_default="none", help="File to write: .csv, .jsonl or .parquet."),
    ] = None,
    run_id: RunId = None,
    since: Annotated[
        int | None,
        typer.Option(
            "--since",
            metavar="RUN_ID",
            max=RUN_ID_MAX,
            show_default="all lists",
            help="Write only lists that differ from those of this run, and whose users are gone.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default="none",
            help="Instead of a file: redis://host:6379/0, all at one instant (extra nightreel[redis]); or "
            "`feast`, the feature view user_recommendation and its online store.",
        ),
    ] = None,
    lists: Annotated[
        Lists,
        typer.Option(
            help="With a file: the lists of users, each video's related videos, or the popular videos."
        ),
    ] = Lists.users,
    key: Annotated[str, typer.Option(help="With --to: the key of the hash of lists.")] = "nightreel:lists",
    as_json: StepJson = False,
    home: Home = None,
) -> None:
    """Write all lists of a run to a file, by user and rank, to Redis, or to Feast."""
    if (file is None) == (to is None):
        raise InputError("export: either FILE or --to URL.", "Name one of them.")
    settings = command_settings()
    if file is not None:
        from scoring.exporting import export as step
        from scoring.exporting import export_shared

        if lists is not Lists.users:
            if since is not None:
                raise InputError("--since: only of the lists of users.", "Leave it out.")
            report_step(
                lambda: export_shared(settings, file, run_id, lists.value), "export", changes_home=False
            )
            return
        report_step(lambda: step(settings, file, run_id, since=since), "export", changes_home=False)
        return
    if lists is not Lists.users:
        raise InputError(f"--lists {lists.value}: only with a file.", "Name one, like lists.parquet.")
    if since is not None:
        raise InputError("--since: only with a file.", "Elsewhere all lists of a run come at once.")
    if to == "feast":
        import_feast()
        from scoring.exporting.feast import export_to_feast

        report_step(lambda: export_to_feast(settings, run_id), "export --to feast")
        return
    from scoring.exporting.redis import SCHEMES, export_to_redis

    assert to is not None
    if to.partition("://")[0] not in SCHEMES:
        raise InputError(
            "--to: not the URL of a Redis server.", "Write it like redis://host:6379/0, or --to feast."
        )
    report_step(lambda: export_to_redis(settings, to, key, run_id), "export --to redis", changes_home=False)


@app.command()
def rollback(
    run_id: Annotated[
        int, typer.Argument(max=RUN_ID_MAX, help="The run to show again; `nightreel runs` lists them.")
    ],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show an earlier run's lists again, at once; the next published run is shown as usual."""
    from nightreel.core import printing
    from scoring.database.history import rollback as step

    before = step(command_settings(), run_id)
    if as_json:
        printing.print_json({"run_id": run_id, "shown_before": before})
        return
    print(f"run {run_id} is shown" + (" already" if before == run_id else f", instead of run {before}"))


@app.command(context_settings=ANY_ID)
def forget(
    user_id: Annotated[
        str, typer.Argument(help="The user to forget, as the log names them; this cannot be undone.")
    ],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train anew without them, and remove the models before.")
    ] = False,
    as_json: StepJson = False,
    home: Home = None,
) -> None:
    """Remove a user from raw files, deliveries, tables, features and all lists; keep a record of how much."""
    settings = command_settings()
    import_feast()
    from nightreel.operations.forgetting import forget as step

    name = "forget --retrain" if retrain else "forget"
    report_step(lambda: step(settings, user_id, retrain=retrain), name)


@app.command()
def browse(
    host: Annotated[
        str, typer.Option(help="Address to serve on; another than this machine's own lets others read.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0: any free one.")] = 8380,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")] = 1,
    home: Home = None,
) -> None:
    """Serve pages to look at the lists, and a JSON API; another host needs a password. Ctrl-C ends it."""
    from nightreel.browse.serve import serve

    serve(command_settings(), host, port, workers=workers)
