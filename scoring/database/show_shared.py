"""The lists that are not a user's, for people and for Python: a video's related ones, and popular ones."""

from collections.abc import Sequence
from typing import Any, cast

import polars as pl
from sqlalchemy import Connection, Row, Select, select

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds
from pipelines.backtest_files import POPULAR, RELATED
from scoring.database.connection import reading
from scoring.database.id_columns import as_stored, schema_of
from scoring.database.kept_runs import run_or_shown
from scoring.database.list_rows import PopularRow, RelatedRow
from scoring.database.schema import require_current
from scoring.database.shared_lists import TABLES
from scoring.database.show import with_descriptions
from scoring.database.tables import popular_recommendation, related_recommendation, shared_list_run

# In one statement: SQLite allows 32,766 parameters.
_VIDEOS_AT_A_TIME = 10_000
_SETTING = {RELATED: "[lists.shared] related_k", POPULAR: "[lists.shared] popular_k"}
_related, _popular = related_recommendation.c, popular_recommendation.c


def related_list(
    settings: DatabaseNeeds, video_id: int | str, limit: int, *, run_id: int | None = None
) -> list[RelatedRow]:
    """The first `limit` videos related to a video, by rank, with captions and categories.

    Args:
        video_id: as in the log.
        run_id: a run whose lists are kept, by default the one that apps read.

    Raises:
        InputError: the run has no such lists, or the video has none.
    """
    Ids.of(settings.paths, columns.VIDEO_ID).given(str(video_id))
    with reading(settings) as connection:
        run = _run_with(connection, RELATED, run_id)
        rows = related_rows(connection, settings.paths, run.run_id, video_id, limit)
    if not rows:
        raise InputError(
            f"Video {video_id} has no related videos in run {run.run_id}: it could not be listed then, or "
            "nothing is played with it or has a text like its.",
            "Choose another video.",
        )
    return cast(list[RelatedRow], with_descriptions(settings.paths, rows, columns.RELATED_VIDEO_ID))


def related_rows(
    connection: Connection, paths: Paths, run_id: int, video_id: int | str, limit: int
) -> list[dict[str, Any]]:
    """The same columns rank, related_video_id, score and source; no rows if there are none."""
    ids = Ids.of(paths, columns.VIDEO_ID)
    video = as_stored(connection, related_recommendation, columns.VIDEO_ID, ids, str(video_id))
    names = (columns.RANK, columns.RELATED_VIDEO_ID, columns.SCORE, columns.SOURCE)
    query = select(*(_related[name] for name in names)).where(
        _related[columns.RUN_ID] == run_id, _related[columns.VIDEO_ID] == video
    )
    if video is None:
        return []
    found = connection.execute(query.order_by(_related.rank).limit(limit)).mappings()
    return [dict(row) for row in found]


def popular_list(
    settings: DatabaseNeeds,
    limit: int,
    *,
    segment: str = columns.OVERALL,
    value: str = "",
    run_id: int | None = None,
) -> list[PopularRow]:
    """The first `limit` popular videos, for all users or one segment's value, with captions and categories.

    Raises:
        InputError: the run has no such lists, or none for this segment and value; the message names those.
    """
    with reading(settings) as connection:
        run = _run_with(connection, POPULAR, run_id)
        rows = popular_rows(connection, run.run_id, limit, segment=segment, value=value)
        known = popular_segments(connection, run.run_id)
    if not rows and (segment, value) != (columns.OVERALL, ""):
        of_segment = [one for name, one in known if name == segment]
        names = sorted({name for name, _ in known} - {columns.OVERALL})
        raise InputError(
            f"{segment}={value}: run {run.run_id} has no popular videos of it.",
            f"Its values are {', '.join(of_segment)}."
            if of_segment
            else f"Segments are {', '.join(names)}."
            if names
            else "Name columns of the users in the setting [lists.shared] segments.",
        )
    return cast(list[PopularRow], with_descriptions(settings.paths, rows, columns.VIDEO_ID))


def popular_rows(
    connection: Connection, run_id: int, limit: int, *, segment: str, value: str
) -> list[dict[str, Any]]:
    """The same as rank, video_id, score and source; empty if there are none."""
    names = (columns.RANK, columns.VIDEO_ID, columns.SCORE, columns.SOURCE)
    query = select(*(_popular[name] for name in names)).where(
        _popular[columns.RUN_ID] == run_id,
        _popular[columns.SEGMENT] == segment,
        _popular[columns.VALUE] == value,
    )
    found = connection.execute(query.order_by(_popular.rank).limit(limit)).mappings()
    return [dict(row) for row in found]


def popular_segments(connection: Connection, run_id: int) -> list[tuple[str, str]]:
    """The segments and values for which a run has popular lists, the list for all users first."""
    query = select(_popular.segment, _popular.value).where(
        _popular[columns.RUN_ID] == run_id, _popular[columns.RANK] == 1
    )
    found = [(str(row.segment), str(row.value)) for row in connection.execute(query)]
    return sorted(found, key=lambda one: (one[0] != columns.OVERALL, *one))


def related_of_videos(
    settings: DatabaseNeeds, video_ids: Sequence[int | str] | None = None, *, run_id: int | None = None
) -> pl.DataFrame:
    """The table's rows of these videos (default: all), by video and rank; a video without a list has none.

    Raises:
        InputError: nothing is published, or the run has no such lists.
    """
    order = (_related[columns.VIDEO_ID], _related[columns.RANK])
    with reading(settings) as connection:
        run = _run_with(connection, RELATED, run_id)
        of_run = select(related_recommendation).where(_related[columns.RUN_ID] == run.run_id).order_by(*order)
        queries = [of_run]
        if video_ids is not None:
            ids = Ids.of(settings.paths, columns.VIDEO_ID)
            given = {
                as_stored(connection, related_recommendation, columns.VIDEO_ID, ids, str(one))
                for one in video_ids
            }
            asked: list[Any] = sorted(given - {None}, key=str)
            queries = [
                of_run.where(_related[columns.VIDEO_ID].in_(asked[start : start + _VIDEOS_AT_A_TIME]))
                for start in range(0, len(asked), _VIDEOS_AT_A_TIME)
            ]
        found = _frame(connection, RELATED, queries)
    return found if video_ids is None else found.sort(columns.VIDEO_ID, columns.RANK)


def popular_of_segments(settings: DatabaseNeeds, *, run_id: int | None = None) -> pl.DataFrame:
    """The table's rows by segment, value and rank, the list for all users included.

    Raises:
        InputError: nothing is published, or the run has no such lists.
    """
    with reading(settings) as connection:
        run = _run_with(connection, POPULAR, run_id)
        of_run = select(popular_recommendation).where(_popular[columns.RUN_ID] == run.run_id)
        order = (_popular[columns.SEGMENT], _popular[columns.VALUE], _popular[columns.RANK])
        return _frame(connection, POPULAR, [of_run]).sort(*(column.name for column in order))


def _frame(connection: Connection, kind: str, queries: Sequence[Select[Any]]) -> pl.DataFrame:
    rows = [tuple(row) for query in queries for row in connection.execute(query)]
    return pl.DataFrame(rows, schema=schema_of(connection, TABLES[kind]), orient="row")


def _run_with(connection: Connection, kind: str, run_id: int | None) -> Row[Any]:
    """The run, by default the one that apps read. Raises InputError where it has no lists of this kind."""
    require_current(connection)
    run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
    require_kind(connection, kind, run.run_id)
    return run


def require_kind(connection: Connection, kind: str, run_id: int) -> None:
    """Raise InputError if a run has no lists of this kind."""
    of_run = shared_list_run.c[columns.RUN_ID] == run_id
    if connection.execute(select(shared_list_run).where(of_run, shared_list_run.c.kind == kind)).first():
        return
    raise InputError(
        f"Run {run_id} has no lists of {kind} videos.",
        f"Set {_SETTING[kind]}, say to 20, and run `nightreel score`.",
    )
