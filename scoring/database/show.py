"""One user's list for people: captions and categories beside each stage's score."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.ids import Ids
from nightreel.core.settings import Paths, Settings
from scoring.database.connection import reading
from scoring.database.id_columns import as_stored
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
    settings: Settings, user_id: int | str, limit: int, *, run_id: int | None = None
) -> list[dict[str, Any]]:
    """The first `limit` rows of the user's list, by rank; each a mapping from column to value.

    Beside the table's columns: caption and the three category names, None where unknown. user_id: as the log
    has it. run_id: of a run whose lists are kept, published or stored; by default the one that apps read.
    Raises InputError where nothing is published, the run has no lists or the user has none.
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
    described = descriptions(settings.paths, [row[columns.VIDEO_ID] for row in rows])
    return [row | described.get(row[columns.VIDEO_ID], dict.fromkeys(_DESCRIBED)) for row in rows]


def _rows(connection: Connection, run_id: int, user_id: int | str, limit: int) -> list[dict[str, Any]]:
    of_run, of_user = recommendation.c[columns.RUN_ID] == run_id, recommendation.c[columns.USER_ID] == user_id
    query = (
        select(*(recommendation.c[name] for name in _SHOWN))
        .where(of_run, of_user)
        .order_by(recommendation.c[columns.RANK])
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def descriptions(paths: Paths, video_ids: Sequence[int | str]) -> dict[int | str, dict[str, Any]]:
    """Caption and categories by video, whose ids are those of the log; empty without a caption table."""
    captions = paths.table("video_captions")
    if not captions.is_file():
        return {}
    ids = Ids.of(paths, columns.VIDEO_ID)
    codes = ids.codes_of(video_ids)
    found = pl.scan_parquet(captions).filter(pl.col(columns.VIDEO_ID).is_in(list(codes.values())))
    rows = read(found.select(columns.VIDEO_ID, *_DESCRIBED), captions).to_dicts()
    of_codes = {row.pop(columns.VIDEO_ID): row for row in rows}
    return {one: of_codes[codes[key]] for one in video_ids if codes.get(key := ids.key(one)) in of_codes}


def read(query: pl.LazyFrame, table: Path) -> pl.DataFrame:
    """The query's rows. Raises NightreelError, which names the table, where it cannot be read."""
    try:
        return query.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise NightreelError(
            f"{table}: cannot be read as a table.", "Run `nightreel ingest --force` to make it again."
        ) from error
