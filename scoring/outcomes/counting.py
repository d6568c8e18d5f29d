"""One run's figures: its lists, read in parts, beside the pairs that were played while they were shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.ids import ListIds
from scoring.database.tables import recommendation
from scoring.outcomes.arms import figures_of_arms
from scoring.outcomes.log import LIKED, PLAYED, Log
from scoring.outcomes.windows import ShownRun

HITS = (PLAYED, LIKED)
_DEPTHS = (10, 20)
_ROWS_AT_A_TIME = 200_000
_READ = (columns.USER_ID, columns.RANK, columns.VIDEO_ID, columns.SOURCE, columns.CANDIDATE_SOURCES)
_CELL = (columns.SOURCE, "rank_from", "segment")
_SCHEMA = {
    columns.USER_ID: pl.Int64,
    columns.RANK: pl.Int64,
    columns.VIDEO_ID: pl.Int64,
    columns.SOURCE: pl.String,
    columns.CANDIDATE_SOURCES: pl.String,
}


@dataclass(frozen=True)
class Figures:
    """A run's figures: facts of the night, and rows of the other tables `list_...`, without run_id."""

    night: dict[str, Any]
    outcome: list[dict[str, Any]]
    reach: list[dict[str, Any]]
    candidate: list[dict[str, Any]]
    arm: list[dict[str, Any]]


def depths(k: int) -> list[int]:
    """The list depths at which reach is counted: k, and those of 10 and 20 that are smaller."""
    return [*(depth for depth in _DEPTHS if depth < k), k]


def count(connection: Connection, shown: ShownRun, log: Log, plays: pl.DataFrame) -> Figures:
    """The figures of a run; `plays` are those in its spans."""
    run = shown.run
    before = log.before(run.as_of, run.known_at)
    buckets = log.buckets(run.model_version, before)
    pairs = log.pairs(plays, buckets)
    ids = ListIds.of(log.settings.paths)
    users = _users(connection, run.run_id, ids)
    pairs = pairs.join(users, on=columns.USER_ID, how="semi")
    segments = log.segments(users, before)
    outcome, hits_of_lists, listed, candidate = _cells(
        _parts(connection, run.run_id, ids), run, pairs, segments
    )
    of_popularity = log.popular_ranks(pairs, before, run.as_of, buckets)
    ages = listed.join(log.age_days(run.as_of), on=columns.VIDEO_ID)
    is_fresh = pl.col("age_days").is_between(0, log.settings.retrieval.fresh_days)
    night = {
        "k": run.k,
        "users": users.height,
        "active_users": pairs[columns.USER_ID].n_unique(),
        "rows": int(listed["rows"].sum()),
        "dated_rows": int(ages["rows"].sum()),
        "fresh_rows": int(ages.filter(is_fresh)["rows"].sum()),
        "videos_listed": listed.height,
        # What is listed was known, whatever the tables say by now.
        "videos_known": max(listed.height, log.videos_known(before, run.as_of)),
        "plays": plays.join(users, on=columns.USER_ID, how="semi").height,
    }
    reach = _reach(run.k, hits_of_lists, of_popularity)
    return Figures(night, outcome, reach, candidate, figures_of_arms(run, users, pairs, hits_of_lists))


def _users(connection: Connection, run_id: int, ids: ListIds) -> pl.DataFrame:
    """The users with a list, and the arm of each."""
    query = select(recommendation.c[columns.USER_ID], recommendation.c[columns.ARM]).where(
        recommendation.c[columns.RUN_ID] == run_id, recommendation.c[columns.RANK] == 1
    )
    arms = {ids.user.key(user): arm for user, arm in connection.execute(query)}
    codes = ids.user.codes_of(arms)
    found = {columns.USER_ID: list(codes.values()), columns.ARM: [arms[user] for user in codes]}
    return pl.DataFrame(found, {columns.USER_ID: pl.Int64, columns.ARM: pl.String})


def _parts(connection: Connection, run_id: int, ids: ListIds) -> Iterator[pl.DataFrame]:
    """A run's rows, some at a time; those of users and videos that the home does not know are left out."""
    query = (
        select(*(recommendation.c[name] for name in _READ))
        .where(recommendation.c[columns.RUN_ID] == run_id)
        .execution_options(yield_per=_ROWS_AT_A_TIME)
    )
    for part in connection.execute(query).partitions():
        rows = [tuple(row) for row in part]
        if ids.user.is_text or ids.video.is_text:
            users = ids.user.codes_of(dict.fromkeys(row[0] for row in rows))
            videos = ids.video.codes_of(dict.fromkeys(row[2] for row in rows))
            keys = [(ids.user.key(row[0]), ids.video.key(row[2])) for row in rows]
            rows = [
                (users[user], rank, videos[video], *said)
                for (user, video), (_, rank, _, *said) in zip(keys, rows, strict=True)
                if user in users and video in videos
            ]
        yield pl.DataFrame(rows, _SCHEMA, orient="row")


def _cells(
    parts: Iterator[pl.DataFrame], run: Any, pairs: pl.DataFrame, segments: pl.DataFrame
) -> tuple[list[dict[str, Any]], pl.DataFrame, pl.DataFrame, list[dict[str, Any]]]:
    """Counts by source, ranks and segment; each user's hits; how often each video is listed; counts by
    candidate source.
    """
    ends = depths(run.k)
    starts = [1, *(end + 1 for end in ends[:-1])]
    rank_from = pl.lit(1)
    for start in starts[1:]:
        rank_from = pl.when(pl.col(columns.RANK) >= start).then(pl.lit(start)).otherwise(rank_from)
    cells, hits, videos, candidates = [], [], [], []
    for part in parts:
        rows = (
            part.join(segments, on=columns.USER_ID)
            .join(pairs, on=[columns.USER_ID, columns.VIDEO_ID], how="left")
            .with_columns(
                rank_from.cast(pl.Int64).alias("rank_from"), pl.col(LIKED).is_not_null().alias(PLAYED)
            )
        )
        sums = (
            pl.col(PLAYED).sum(),
            pl.col(LIKED).fill_null(False).sum(),
            pl.col("watch_ms").fill_null(0).sum(),
        )
        cells.append(
            rows.group_by(_CELL).agg(pl.len().alias("listed"), *(one.cast(pl.Int64) for one in sums))
        )
        brought = rows.with_columns(pl.col(columns.CANDIDATE_SOURCES).str.split(",")).explode(
            columns.CANDIDATE_SOURCES
        )
        candidates.append(
            brought.drop_nulls(columns.CANDIDATE_SOURCES)
            .group_by(pl.col(columns.CANDIDATE_SOURCES).alias("candidate_source"))
            .agg(pl.len().cast(pl.Int64).alias("listed"), *(one.cast(pl.Int64) for one in sums))
        )
        hits.append(rows.filter(PLAYED).select(columns.USER_ID, LIKED, columns.RANK))
        videos.append(part.group_by(columns.VIDEO_ID).agg(pl.len().cast(pl.Int64).alias("rows")))
    whole = pl.concat(cells).group_by(_CELL).agg(pl.all().cast(pl.Int64).sum()).sort(_CELL)
    outcome = [row | {"rank_to": ends[starts.index(row["rank_from"])]} for row in whole.to_dicts()]
    of_candidates = pl.concat(candidates).group_by("candidate_source").agg(pl.all().sum())
    of_videos = pl.concat(videos).group_by(columns.VIDEO_ID).agg(pl.col("rows").sum())
    return outcome, pl.concat(hits), of_videos, of_candidates.sort("candidate_source").to_dicts()


def _reach(k: int, of_lists: pl.DataFrame, of_popularity: pl.DataFrame) -> list[dict[str, Any]]:
    """Users with a hit among the first of their list, of yesterday's popularity, and of one alone."""
    found = []
    for hit in HITS:
        for depth in depths(k):
            mine, others = (
                rows.filter((pl.col(columns.RANK) <= depth) & (pl.col(LIKED) if hit == LIKED else True))
                .select(columns.USER_ID)
                .unique()
                for rows in (of_lists, of_popularity)
            )
            both = mine.join(others, on=columns.USER_ID, how="semi").height
            found.append(
                {
                    "hit": hit,
                    "depth": depth,
                    "users_list": mine.height,
                    "users_popularity": others.height,
                    "list_only": mine.height - both,
                    "popularity_only": others.height - both,
                }
            )
    return found
