"""Videos that many others have in their lists and this user has not: why, as far as facts alone can say."""

from typing import Any

import polars as pl
from sqlalchemy import Connection, func, select

from nightreel.browse.table import CAPTION, CATEGORY, PICTURE, VIDEO, Column
from nightreel.core import columns
from nightreel.core.settings import ListSettings
from scoring.database.tables import blocklist, recommendation

UNLISTED_MAX = 20
# Rows of the run's first lists that are counted, so that a page costs the same for any number of users.
_ROWS = 50_000
_OTHERWISE = "not blocked or seen: ranked lower, or left out by a setting"
UNLISTED_COLUMNS = (
    VIDEO,
    PICTURE,
    CAPTION,
    CATEGORY,
    Column("lists", "Lists", "How many of the lists that were looked at have it.", "number"),
    Column("reason", "Why not here", "seen: the user played it before; blocked: by the table blocklist."),
    Column("why", "In full", "Which stage left it out, by the run's own model.", "link"),
)


def unlisted(
    connection: Connection, settings: ListSettings, run_id: int, listed: set[int], plays: pl.DataFrame
) -> list[dict[str, Any]]:
    """The most listed videos of a run that are not in this list, with the reason if it is a plain fact.

    Args:
        listed: videos of the user's list.
        plays: the user's, before the run.
    """
    some = (
        select(recommendation.c[columns.VIDEO_ID])
        .where(recommendation.c[columns.RUN_ID] == run_id)
        .order_by(recommendation.c[columns.USER_ID], recommendation.c[columns.RANK])
        .limit(_ROWS)
        .subquery()
    )
    video, lists = some.c[columns.VIDEO_ID], func.count().label("lists")
    most = UNLISTED_MAX + len(listed)
    counted = select(video, lists).group_by(video).order_by(lists.desc(), video).limit(most)
    rows = [
        dict(row) for row in connection.execute(counted).mappings() if row[columns.VIDEO_ID] not in listed
    ]
    rows = rows[:UNLISTED_MAX]
    videos = [row[columns.VIDEO_ID] for row in rows]
    blocked = _blocked(connection, videos)
    seen = _seen(plays, videos) if settings.exclude.seen else {}
    for row in rows:
        one = row[columns.VIDEO_ID]
        row["reason"] = blocked.get(one) or seen.get(one) or _OTHERWISE
    return rows


def _blocked(connection: Connection, videos: list[int]) -> dict[int, str]:
    query = select(blocklist).where(blocklist.c[columns.VIDEO_ID].in_(videos))
    return {
        row.video_id: "blocked" + (f": {row.reason}" if row.reason else "")
        for row in connection.execute(query)
    }


def _seen(plays: pl.DataFrame, videos: list[int]) -> dict[int, str]:
    of_these = plays.filter(pl.col(columns.VIDEO_ID).is_in(videos))
    times = of_these.group_by(columns.VIDEO_ID).agg(n=pl.len(), last=pl.col(columns.EVENT_TIMESTAMP).max())
    return {
        video: f"seen: {last:%Y-%m-%d}" + (f", {n} times in all" if n > 1 else "")
        for video, n, last in times.iter_rows()
    }
