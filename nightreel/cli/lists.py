"""The commands that compare, export, change and serve the published lists."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nightreel.cli.options import ANY_ID, RUN_ID_MAX, AsJson, Home, RunId, StepJson
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, import_feast, note_timing, report_step, with_progress
from nightreel.core.errors import InputError


class Lists(StrEnum):
    """The kind of lists to export."""

    users = "users"
    related = "related"
    popular = "popular"


@app.command()
def compare(
    run_id: Annotated[int, typer.Argument(max=RUN_ID_MAX, help="A run that is kept, published or stored.")],
    other_id: Annotated[
        int | None,
        typer.Argument(
            metavar="[OTHER]",
            max=RUN_ID_MAX,
            show_default="the one that apps read",
            help="The run to compare it with.",
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
        printing.print_table(
            [{"what": name.replace("_", " "), "value": value} for name, value in found.items()]
        )


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
            help="Write only lists that differ from those of this run, and users who no longer have one.",
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
                raise InputError("--since: only for the lists of users.", "Leave it out.")
            report_step(
                lambda: export_shared(settings, file, run_id, lists.value), "export", changes_home=False
            )
            return
        report_step(lambda: step(settings, file, run_id, since=since), "export", changes_home=False)
        return
    if lists is not Lists.users:
        raise InputError(f"--lists {lists.value}: only with a file.", "Name one, like lists.parquet.")
    if since is not None:
        raise InputError("--since: only with a file.", "Elsewhere all lists of a run are exported at once.")
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
        str, typer.Argument(help="The user to forget, by the id in the log; this cannot be undone.")
    ],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train again without them, and remove the earlier models.")
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
        str,
        typer.Option(help="Address to serve on; any except this machine's own lets others read the lists."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0: any free one.")] = 8380,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that serve.")] = 1,
    home: Home = None,
) -> None:
    """Serve pages to look at the lists, and a JSON API; another host needs a password. Ctrl-C ends it."""
    from nightreel.browse.serve import serve

    serve(command_settings(), host, port, workers=workers)
