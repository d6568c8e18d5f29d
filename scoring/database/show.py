"""One user's list for people: captions and categories beside each stage's score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.ids import Ids
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.id_columns import as_stored, schema_of
from scoring.database.kept_runs import run_or_shown
from scoring.database.list_rows import Described, ListRow
from scoring.database.schema import require_current
from scoring.database.tables import ROW_FIELDS, recommendation

# In one statement: SQLite allows 32,766 parameters.
_USERS_AT_A_TIME = 10_000
_DESCRIBED = tuple(Described.__annotations__)
_UNKNOWN = dict.fromkeys(_DESCRIBED)


def user_list(
    settings: DatabaseNeeds, user_id: int | str, limit: int, *, run_id: int | None = None
) -> list[ListRow]:
    """The first `limit` rows of the user's list, by rank.

    Args:
        user_id: as in the log.
        run_id: a run whose lists are kept, published or stored; by default the one that apps read.

    Returns:
        Column -> value: the table's columns, the caption and the three category names (None if unknown).

    Raises:
        InputError: nothing is published, the run has no lists, or the user has none.
    """
    ids = Ids.of(settings.paths, columns.USER_ID)
    ids.given(str(user_id))
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
        user = as_stored(connection, recommendation, columns.USER_ID, ids, str(user_id))
        rows = _rows(connection, run.run_id, user, limit) if user is not None else []
    if not rows and run_id is not None:
        raise InputError(f"User {user_id} has no list in run {run_id}.", "Choose another user or run.")
    if not rows:
        raise InputError(
            f"User {user_id} has no list: not in the user file, and without a play when it was made.",
            "Choose another user, or run `nightreel score` after the user's first play.",
        )
    return cast(list[ListRow], with_descriptions(settings.paths, rows, columns.VIDEO_ID))


def with_descriptions(paths: Paths, rows: list[dict[str, Any]], video: str) -> list[dict[str, Any]]:
    """The rows with caption and categories of the video in column `video`; None if unknown."""
    described = descriptions(paths, [row[video] for row in rows])
    return [{**row, **described.get(row[video], _UNKNOWN)} for row in rows]


def lists_of_users(
    settings: DatabaseNeeds, user_ids: Sequence[int | str] | None = None, *, run_id: int | None = None
) -> pl.DataFrame:
    """The table's rows of these users, by default all, by user and rank; a user without a list has no rows.

    Args:
        run_id: a run whose lists are kept, by default the one that apps read.

    Raises:
        InputError: nothing is published, or the run has no lists.
    """
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
        of_run = (
            select(recommendation)
            .where(recommendation.c[columns.RUN_ID] == run.run_id)
            .order_by(recommendation.c[columns.USER_ID], recommendation.c[columns.RANK])
        )
        queries = [of_run]
        if user_ids is not None:
            ids = Ids.of(settings.paths, columns.USER_ID)
            given = {
                as_stored(connection, recommendation, columns.USER_ID, ids, str(one)) for one in user_ids
            }
            asked: list[Any] = sorted(given - {None}, key=str)
            of_users = recommendation.c[columns.USER_ID].in_
            queries = [
                of_run.where(of_users(asked[start : start + _USERS_AT_A_TIME]))
                for start in range(0, len(asked), _USERS_AT_A_TIME)
            ]
        rows = [tuple(row) for query in queries for row in connection.execute(query)]
        found = pl.DataFrame(rows, schema=schema_of(connection, recommendation), orient="row")
    return found if user_ids is None else found.sort(columns.USER_ID, columns.RANK)


def _rows(connection: Connection, run_id: int, user_id: int | str, limit: int) -> list[dict[str, Any]]:
    of_run, of_user = recommendation.c[columns.RUN_ID] == run_id, recommendation.c[columns.USER_ID] == user_id
    query = (
        select(*(recommendation.c[name] for name in ROW_FIELDS))
        .where(of_run, of_user)
        .order_by(recommendation.c[columns.RANK])
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def descriptions(paths: Paths, video_ids: Sequence[int | str]) -> dict[int | str, Described]:
    """Caption and categories by video id (as in the log); empty without a caption table."""
    captions = paths.table("video_captions")
    if not captions.is_file():
        return {}
    ids = Ids.of(paths, columns.VIDEO_ID)
    codes = ids.codes_of(video_ids)
    found = pl.scan_parquet(captions).filter(pl.col(columns.VIDEO_ID).is_in(list(codes.values())))
    rows = read(found.select(columns.VIDEO_ID, *_DESCRIBED), captions).to_dicts()
    of_codes = {row.pop(columns.VIDEO_ID): cast(Described, row) for row in rows}
    return {one: of_codes[codes[key]] for one in video_ids if codes.get(key := ids.key(one)) in of_codes}


def read(query: pl.LazyFrame, table: Path) -> pl.DataFrame:
    """The query's rows. Raises NightreelError, which names the table, if it cannot be read."""
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NightreelError(
            f"{table}: cannot be read as a table.", "Run `nightreel ingest --force` to make it again."
        ) from error
