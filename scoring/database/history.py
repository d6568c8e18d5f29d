"""The runs in the database, and the way back to an earlier one."""

from datetime import datetime
from typing import TypedDict, cast

from sqlalchemy import Connection, RowMapping, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.kept_runs import require_lists
from scoring.database.runs import show
from scoring.database.schema import require_current, upgrade
from scoring.database.tables import STORED, published_run, recommendation_run
from scoring.database.url import database_url
from scoring.database.writer import exclusive_lock

_key = recommendation_run.c[columns.RUN_ID]


class RunFields(TypedDict):
    """The facts of a run, besides its id and whether apps read it.

    Attributes:
        stages: JSON, seconds by stage.
        error: why a run has failed.
    """

    status: str
    replay: bool
    as_of: datetime
    known_at: datetime | None
    model_version: str
    started_at: datetime
    published_at: datetime | None
    users: int | None
    rows: int | None
    k: int
    stages: str | None
    error: str | None


class RunFacts(RunFields):
    """A row of `nightreel runs`; its keys are public."""

    run_id: int
    shown: bool


RUN_FIELDS = tuple(RunFields.__annotations__)


def list_runs(settings: DatabaseNeeds) -> list[RunFacts]:
    """Every kept run, newest first; `shown` says whether apps read it.

    Raises:
        InputError: there is no database yet.
    """
    with reading(settings) as connection:
        require_current(connection)
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalar()
        found = connection.execute(select(recommendation_run).order_by(_key.desc())).mappings().all()
    return [run_facts(run, shown) for run in found]


def run_facts(run: RowMapping, shown: int | None) -> RunFacts:
    """A row of recommendation_run as text for people, if apps read the run `shown`."""
    facts = {columns.RUN_ID: run[columns.RUN_ID], "shown": run[columns.RUN_ID] == shown}
    return cast(RunFacts, facts | {name: run[name] for name in RUN_FIELDS})


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
