"""One user's list for people: captions and categories beside each stage's score."""

from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import reading
from scoring.database.kept_runs import run_or_shown
from scoring.database.schema import require_current
from scoring.database.tables import recommendation

_SHOWN = (
    columns.RANK,
    columns.VIDEO_ID,
    columns.SCORE,
    columns.CLASSIFIER_SCORE,
    columns.REGRESSOR_SCORE,
    columns.ALS_SCORE,
    columns.SOURCE,
    columns.CANDIDATE_SOURCES,
)
_DESCRIBED = (columns.CAPTION, *columns.CATEGORY_NAMES)


def user_list(
    settings: Settings, user_id: int, limit: int, *, run_id: int | None = None
) -> list[dict[str, Any]]:
    """The first `limit` rows of the user's list, by rank; each a mapping from column to value.

    Beside the table's columns: caption and the three category names, None where unknown. run_id: of a run
    whose lists are kept, published or stored; by default the one that apps read. Raises InputError where
    nothing is published, the run has no lists or the user has none.
    """
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
        rows = _rows(connection, run.run_id, user_id, limit)
    if not rows and run_id is not None:
        raise InputError(f"User {user_id} has no list in run {run_id}.", "Choose another user or run.")
    if not rows:
        raise InputError(
            f"User {user_id} has no list: not in the user file, and without a play when it was made.",
            "Choose another user, or run `nightreel score` after the user's first play.",
        )
    described = descriptions(settings.paths.table("video_captions"), [row[columns.VIDEO_ID] for row in rows])
    return [row | described.get(row[columns.VIDEO_ID], dict.fromkeys(_DESCRIBED)) for row in rows]


def _rows(connection: Connection, run_id: int, user_id: int, limit: int) -> list[dict[str, Any]]:
    of_run, of_user = recommendation.c[columns.RUN_ID] == run_id, recommendation.c[columns.USER_ID] == user_id
    query = (
        select(*(recommendation.c[name] for name in _SHOWN))
        .where(of_run, of_user)
        .order_by(recommendation.c[columns.RANK])
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def descriptions(captions: Path, video_ids: list[int]) -> dict[int, dict[str, Any]]:
    """Caption and categories by video; empty where the caption table is not there."""
    if not captions.is_file():
        return {}
    found = pl.scan_parquet(captions).filter(pl.col(columns.VIDEO_ID).is_in(video_ids))
    rows = read(found.select(columns.VIDEO_ID, *_DESCRIBED), captions).iter_rows(named=True)
    return {row.pop(columns.VIDEO_ID): row for row in rows}


def read(query: pl.LazyFrame, table: Path) -> pl.DataFrame:
    """The query's rows. Raises NightreelError, which names the table, where it cannot be read."""
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NightreelError(
            f"{table}: cannot be read as a table.", "Run `nightreel ingest --force` to make it again."
        ) from error
