"""Removes the oldest runs beyond the limit, published ones and stored replays each counted by themselves."""

from sqlalchemy import ColumnElement, Connection, delete, select

from nightreel.core import columns
from nightreel.core.settings import DatabaseSettings
from scoring.database.tables import (
    FAILED,
    OF_RUNS,
    PUBLISHED,
    STORED,
    list_repeat,
    published_run,
    recommendation_run,
)

_key = recommendation_run.c[columns.RUN_ID]
_status = recommendation_run.c.status


def prune(connection: Connection, settings: DatabaseSettings) -> None:
    """Remove published runs beyond the newest `keep_runs`, but never the shown one.

    As many of the newest stored replays are kept, however many nights were published since. Failed runs older
    than every kept run are removed too. Each run is removed in its own transaction.
    """
    with connection.begin():
        shown = connection.execute(select(published_run.c[columns.RUN_ID])).scalars().all()
        published = {*_newest(connection, PUBLISHED, settings.keep_runs), *shown}
        stored = set(_newest(connection, STORED, settings.keep_runs))
        # A replay that was stored long ago keeps no failed runs.
        oldest = min(published or stored, default=0)
        too_many = (
            _others(PUBLISHED, published) | _others(STORED, stored) | ((_status == FAILED) & (_key < oldest))
        )
        removed = connection.execute(select(_key).where(too_many).order_by(_key)).scalars().all()
    for run_id in removed:
        with connection.begin():
            for table in (*OF_RUNS, list_repeat):
                connection.execute(delete(table).where(table.c[columns.RUN_ID] == run_id))
            connection.execute(delete(recommendation_run).where(_key == run_id))


def _newest(connection: Connection, status: str, most: int) -> list[int]:
    found = select(_key).where(_status == status).order_by(_key.desc()).limit(most)
    return list(connection.execute(found).scalars())


def _others(status: str, kept: set[int]) -> ColumnElement[bool]:
    return (_status == status) & _key.not_in(kept)
