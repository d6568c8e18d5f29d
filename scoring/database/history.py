"""The runs in the database, and the way back to an earlier one."""

from typing import Any

from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import database_url, reading, sql_engine, translate_errors
from scoring.database.kept_runs import require_lists
from scoring.database.runs import show
from scoring.database.schema import require_current, upgrade
from scoring.database.tables import STORED, published_run, recommendation_run
from scoring.database.writer import exclusive_lock

_key = recommendation_run.c[columns.RUN_ID]
# What is said of a run, beside its id and whether apps read it.
RUN_FIELDS = (
    "status",
    "replay",
    "as_of",
    "known_at",
    "model_version",
    "started_at",
    "published_at",
    "users",
    "rows",
    "k",
    "stages",
    "error",
)


def list_runs(settings: DatabaseNeeds) -> list[dict[str, Any]]:
    """Every kept run, newest first; `shown` says whether apps read it.

    Raises:
        InputError: there is no database yet.
    """
    with reading(settings) as connection:
        require_current(connection)
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        found = connection.execute(select(recommendation_run).order_by(_key.desc())).mappings().all()
    return [
        {columns.RUN_ID: run[columns.RUN_ID], "shown": run[columns.RUN_ID] == shown}
        | {name: run[name] for name in RUN_FIELDS}
        for run in found
    ]


def rollback(settings: DatabaseNeeds, run_id: int) -> int | None:
    """Show a run's lists again, in one transaction.

    Later runs are kept, and the next published run is shown as usual.

    Returns:
        The id of the run that was shown before, if any.

    Raises:
        InputError: the run is unknown or was never published.
        BusyError: another process publishes.
    """
    with reading(settings) as connection:
        require_current(connection)
    with (
        translate_errors(database_url(settings)),
        exclusive_lock(sql_engine(settings)) as connection,
        connection.begin(),
    ):
        upgrade(connection)
        _require_published(connection, run_id)
        before = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        if before != run_id:
            show(connection, run_id)
    return before


def _require_published(connection: Connection, run_id: int) -> None:
    if require_lists(connection, run_id).status == STORED:
        raise InputError(
            f"Run {run_id} is a stored replay: it was never published.",
            f"`nightreel score --replay {run_id} --publish` makes it again, and shows it.",
        )
