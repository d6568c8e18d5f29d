"""A user's plays before a run: the last ones, whether each was liked, and its rank in the list then."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from nightreel.browse.table import CAPTION, CATEGORY, PICTURE, VIDEO, Column
from nightreel.core import columns
from nightreel.core.errors import NightreelError
from nightreel.core.ids import Ids
from nightreel.core.play_days import scan_days, table_exists
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import LogNeeds
from pipelines import model_registry
from pipelines.labels import NO_BUCKETS, RATIO, LengthBuckets, is_liked
from scoring.database.show import read
from scoring.database.tables import list_flip, recommendation

PLAYS_MAX = 30
_STAMP = columns.EVENT_TIMESTAMP
PLAY_COLUMNS = (
    Column(_STAMP, "When, UTC", "When it was played.", "instant"),
    VIDEO,
    PICTURE,
    CAPTION,
    CATEGORY,
    Column(columns.WATCH_RATIO, "Watched", "Time played as a share of the video's length.", "percent"),
    Column("liked", "Liked", "Whether the play counts as liked, by the settings in force."),
    Column(
        "listed_rank",
        "Listed at",
        "The video's rank in the list that apps read then.",
        "number",
    ),
    Column("listed_source", "Source", "What had given the video that rank."),
    Column("listed_run", "In run", "The run of that list.", "run"),
)


def plays_before(paths: Paths, user: int | str, as_of: datetime) -> pl.DataFrame:
    """The user's plays that a run of this instant could know of, newest first; none without a table."""
    interactions = paths.interactions
    if not table_exists(interactions):
        return pl.DataFrame(schema={columns.VIDEO_ID: pl.Int64, _STAMP: pl.Datetime("us", "UTC")})
    code = Ids.of(paths, columns.USER_ID).code_of(user)
    known = (pl.col(columns.USER_ID) == code) & (pl.col(_STAMP) < as_of)
    found = scan_days(interactions).filter(known).sort(_STAMP, descending=True)
    plays, videos = read(found, interactions), Ids.of(paths, columns.VIDEO_ID)
    if not videos.is_text:
        return plays
    named = videos.outward(plays[columns.VIDEO_ID].to_numpy())
    return plays.with_columns(pl.Series(columns.VIDEO_ID, named, dtype=pl.String))


def last_plays(
    connection: Connection, settings: LogNeeds, user: int | str, plays: pl.DataFrame, model_version: str
) -> list[dict[str, Any]]:
    """The newest of these plays with `liked` and, if the list is kept, the video's rank and source in it."""
    newest = plays.head(PLAYS_MAX)
    liked = _liked(settings.paths, settings.data, newest, model_version)
    rows = newest.to_dicts()
    for row, is_one in zip(rows, liked, strict=True):
        row["liked"] = is_one
    _put_lists(connection, user, rows)
    return rows


def _liked(paths: Paths, settings: DataSettings, plays: pl.DataFrame, model_version: str) -> list[str | None]:
    """Yes or no; None where it cannot be said."""
    needed = (columns.WATCH_RATIO, columns.VIDEO_DURATION)
    has_lengths = columns.VIDEO_DURATION in plays.columns
    if columns.WATCH_RATIO not in plays.columns or not (has_lengths or settings.targets.label == RATIO):
        return [None] * plays.height
    try:
        folder = None if settings.targets.label == RATIO else model_registry.find(paths, model_version).folder
        buckets = NO_BUCKETS if folder is None else LengthBuckets.load(folder)
    except (NightreelError, OSError):
        return [None] * plays.height
    ratio, length = (
        plays[name].fill_null(0).to_numpy() if name in plays.columns else plays[needed[0]].to_numpy() * 0
        for name in needed
    )
    found = is_liked(settings.targets.label, buckets, ratio, length, settings)
    return ["yes" if one else "no" for one in found.tolist()]


def _put_lists(connection: Connection, user: int | str, rows: Iterable[dict[str, Any]]) -> None:
    """The rank of each play in the list that apps read at that time, if that list is kept."""
    flips = connection.execute(
        select(list_flip.c.shown_at, list_flip.c[columns.RUN_ID]).order_by(list_flip.c.shown_at)
    ).all()
    kept: dict[int, dict[int, Any]] = {}
    for row in rows:
        run = next((flip.run_id for flip in reversed(flips) if flip.shown_at <= row[_STAMP]), None)
        if run is None:
            continue
        if run not in kept:
            kept[run] = _list_of(connection, run, user)
        listed = kept[run].get(row[columns.VIDEO_ID])
        if listed is not None:
            row |= {"listed_rank": listed.rank, "listed_source": listed.source, "listed_run": run}


def _list_of(connection: Connection, run: int, user: int | str) -> dict[int, Any]:
    names = (columns.VIDEO_ID, columns.RANK, columns.SOURCE)
    query = select(*(recommendation.c[name] for name in names)).where(
        recommendation.c[columns.RUN_ID] == run, recommendation.c[columns.USER_ID] == user
    )
    return {row.video_id: row for row in connection.execute(query)}
