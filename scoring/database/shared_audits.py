"""Checks of the lists that are not a user's, read back from the database, before anyone is shown them."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing

import numpy as np
import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.errors import AuditError
from nightreel.core.ids import ListIds
from pipelines.backtest_files import POPULAR, RELATED
from scoring.database.last_run_audits import in_line_with_last
from scoring.database.shared_lists import audited_parts
from scoring.database.tables import shared_list_run
from scoring.lists.shared.rows import (
    BOTH,
    IN_SEGMENT,
    OVERALL_ALONE,
    PLAYED_TOGETHER,
    TEXT,
    SharedCounts,
    SharedList,
)

_REMEDY = "The lists published before stay as they were."
_SOURCES = {RELATED: [PLAYED_TOGETHER, TEXT, BOTH], POPULAR: [IN_SEGMENT, OVERALL_ALONE]}
_rank, _score = pl.col(columns.RANK), pl.col(columns.SCORE)


def audit_shared(
    connection: Connection,
    run_id: int,
    made: SharedList,
    video_id: np.ndarray,
    *,
    ids: ListIds,
    segments: Collection[str],
) -> SharedCounts:
    """Read one kind of shared lists back and check it.

    Args:
        made: what was written.
        video_id: codes of the eligible videos.

    Raises:
        AuditError: rows are missing or too many; a list belongs to an unknown video or segment; ranks are not
            1..n with n at most k; a video occurs twice, is in its own list or is not eligible; scores are not
            finite or rise with rank; a source is unknown.
    """
    videos = ids.video.named(video_id)
    rows = lists = full = 0
    with closing(audited_parts(connection, run_id, made.kind, ids)) as parts:
        for part in parts:
            for name, bad in _checks(made, videos, segments):
                _require(made.kind, name, part.filter(bad))
            rows += part.height
            lists += part.filter(_rank == 1).height
            full += part.filter(_rank == made.k).height
    if rows != made.rows.height or lists > made.expected:
        raise AuditError(
            f"audit `{made.kind}: all rows`: {rows} rows of {lists} lists are there, {made.rows.height} "
            f"were made for at most {made.expected}.",
            _REMEDY,
        )
    return SharedCounts(made.kind, made.k, made.expected, made.expected - full, rows)


def _checks(made: SharedList, videos: pl.Series, segments: Collection[str]) -> Iterator[tuple[str, pl.Expr]]:
    key = [*made.key]
    video = columns.RELATED_VIDEO_ID if made.kind == RELATED else columns.VIDEO_ID
    yield f"ranks 1..{made.k}", (_rank != pl.int_range(1, pl.len() + 1).over(key)) | (_rank > made.k)
    yield "distinct videos", pl.struct(*key, video).is_duplicated()
    yield "listable videos", ~pl.col(video).is_in(videos.implode())
    if made.kind == RELATED:
        yield "known videos", ~pl.col(columns.VIDEO_ID).is_in(videos.implode())
        yield "other videos", pl.col(columns.VIDEO_ID) == pl.col(video)
    else:
        is_overall = (pl.col(columns.SEGMENT) == columns.OVERALL) & (pl.col(columns.VALUE) == "")
        yield "known segments", ~(is_overall | pl.col(columns.SEGMENT).is_in([*segments]))
    yield "finite scores", ~_score.is_finite()
    yield "scores ordered by rank", (_score > _score.shift(1).over(key)).fill_null(value=False)
    yield "sources", ~pl.col(columns.SOURCE).is_in(_SOURCES[made.kind])


def _require(kind: str, name: str, wrong: pl.DataFrame) -> None:
    if wrong.height:
        first = ", ".join(f"{column} {value}" for column, value in wrong.row(0, named=True).items())
        raise AuditError(
            f"audit `{kind}: {name}`: {wrong.height} rows are not as they must be; the first is {first}.",
            _REMEDY,
        )


def shared_in_line_with_last(
    connection: Connection, last_run: int, counts: Iterable[SharedCounts], min_share: float
) -> None:
    """Raise AuditError if a kind has under `min_share` of the last run's lists or, with the same k, rows."""
    for one in counts:
        before = connection.execute(
            select(shared_list_run).where(
                shared_list_run.c[columns.RUN_ID] == last_run, shared_list_run.c.kind == one.kind
            )
        ).first()
        if before is not None:
            in_line_with_last(f"{one.kind} lists", one.lists, before.lists, min_share)
            if before.k == one.k:
                in_line_with_last(f"{one.kind} rows", one.rows, before.rows, min_share)
