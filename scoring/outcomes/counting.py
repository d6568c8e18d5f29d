"""One run's figures: its lists, read in parts, beside the pairs that were played while they were shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.ids import ListIds
from pipelines.labels import LengthBuckets
from pipelines.uploads import FRESH_DAYS
from scoring.database.loading import run_columns
from scoring.database.tables import recommendation
from scoring.outcomes.arms import figures_of_arms
from scoring.outcomes.exposures import Exposures
from scoring.outcomes.log import LIKED, PLAYED, SHOWN, Log
from scoring.outcomes.windows import ShownRun

HITS = (PLAYED, LIKED)
_DEPTHS = (10, 20)
_READ = (columns.USER_ID, columns.RANK, columns.VIDEO_ID, columns.SOURCE, columns.CANDIDATE_SOURCES)
_PAIR = (columns.USER_ID, columns.VIDEO_ID)
_CELL = (columns.SOURCE, "rank_from", "segment")
# Displays further down are counted together at this position; those without a position at 0.
LAST_POSITION = 101
_SUMS = (
    pl.len().cast(pl.Int64).alias("listed"),
    *(pl.col(name).fill_null(0).cast(pl.Int64).sum() for name in (SHOWN, PLAYED, LIKED, "watch_ms")),
)
_SCHEMA = pl.Schema(
    {
        columns.USER_ID: pl.Int64,
        columns.RANK: pl.Int64,
        columns.VIDEO_ID: pl.Int64,
        columns.SOURCE: pl.String,
        columns.CANDIDATE_SOURCES: pl.String,
    }
)


@dataclass(frozen=True)
class Figures:
    """A run's figures: facts of the night, and rows of the other tables `list_...`, without run_id."""

    night: dict[str, Any]
    outcome: list[dict[str, Any]]
    reach: list[dict[str, Any]]
    candidate: list[dict[str, Any]]
    arm: list[dict[str, Any]]
    exposure: list[dict[str, Any]]


def depths(k: int) -> list[int]:
    """The list depths at which reach is counted: k, and those of 10 and 20 that are smaller."""
    return [*(depth for depth in _DEPTHS if depth < k), k]


def count(
    connection: Connection, shown: ShownRun, log: Log, plays: pl.DataFrame, exposures: Exposures | None
) -> Figures:
    """The figures of a run.

    Reach, which is compared with lists that nobody was shown, is of all plays in the run's spans; all else is
    of plays that followed a display, where displays are known.

    Args:
        plays: those in the run's spans.
        exposures: what was displayed of it; None if that is not known.
    """
    # Imported here: it takes the features' libraries, which `status` does without.
    from scoring.outcomes.before import Before

    run = shown.run
    before = Before(log.settings, run.as_of, run.known_at)
    buckets = log.buckets(run.model_version, before)
    pairs = log.pairs(plays, buckets)
    ids = ListIds.of(log.settings.paths)
    users = _users(connection, run.run_id, ids)
    pairs = pairs.join(users, on=columns.USER_ID, how="semi")
    followed = pairs if exposures is None else log.pairs(exposures.plays, buckets)
    segments = log.segments(users, before)
    rows = _Rows(pairs, followed, None if exposures is None else exposures.pairs)
    outcome, candidate = rows.count(_parts(connection, run.run_id, ids), run, segments)
    listed = rows.listed
    of_popularity = log.popular_ranks(pairs, before, run.as_of, buckets)
    ages = listed.join(log.age_days(run.as_of), on=columns.VIDEO_ID)
    is_fresh = pl.col("age_days").is_between(0, FRESH_DAYS)
    night = {
        "k": run.k,
        "users": users.height,
        "active_users": pairs[columns.USER_ID].n_unique(),
        "rows": int(listed["rows"].sum()),
        "dated_rows": int(ages["rows"].sum()),
        "fresh_rows": int(ages.filter(is_fresh)["rows"].sum()),
        "videos_listed": listed.height,
        # Listed videos were known, even if the tables no longer have them.
        "videos_known": max(listed.height, log.videos_known(before, run.as_of)),
        "plays": plays.join(users, on=columns.USER_ID, how="semi").height,
    }
    of_exposures = []
    if exposures is not None:
        night |= rows.displays(exposures)
        of_exposures = _by_position(exposures, rows.displayed, log, buckets)
    reach = _reach(run.k, rows.played, of_popularity)
    arms = figures_of_arms(run, users, pairs, rows.followed)
    return Figures(night, outcome, reach, candidate, arms, of_exposures)


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
    yield pl.DataFrame(schema=_SCHEMA)
    for part in run_columns(connection, run_id, ids, _READ):
        yield part.cast(_SCHEMA)


class _Rows:
    """Counts of a run's rows, part by part.

    Attributes:
        listed: video_id, and the number of lists that contain it as `rows`.
        played: user_id, liked, rank of the rows that were played, wherever their user found the video.
        followed: the same of the rows whose plays count.
        displayed: user_id, video_id of the rows that were displayed.
    """

    def __init__(self, pairs: pl.DataFrame, followed: pl.DataFrame, displayed: pl.DataFrame | None) -> None:
        self._pairs, self._followed, self._displayed = pairs, followed, displayed

    def count(
        self, parts: Iterator[pl.DataFrame], run: Any, segments: pl.DataFrame
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Counts by source, ranks and segment; counts by candidate source."""
        ends = depths(run.k)
        starts = [1, *(end + 1 for end in ends[:-1])]
        rank_from = pl.lit(1)
        for start in starts[1:]:
            rank_from = pl.when(pl.col(columns.RANK) >= start).then(pl.lit(start)).otherwise(rank_from)
        cells, candidates = [], []
        played, followed, displayed, listed = [], [], [], []
        for part in parts:
            rows = (
                part.join(segments, on=columns.USER_ID)
                .join(self._followed, on=_PAIR, how="left")
                .with_columns(
                    rank_from.cast(pl.Int64).alias("rank_from"), pl.col(LIKED).is_not_null().alias(PLAYED)
                )
            )
            rows = self._with_displays(rows)
            cells.append(rows.group_by(_CELL).agg(_SUMS))
            brought = rows.with_columns(pl.col(columns.CANDIDATE_SOURCES).str.split(","))
            brought = brought.explode(columns.CANDIDATE_SOURCES).drop_nulls(columns.CANDIDATE_SOURCES)
            name = pl.col(columns.CANDIDATE_SOURCES).alias("candidate_source")
            candidates.append(brought.group_by(name).agg(_SUMS))
            played.append(part.join(self._pairs, on=_PAIR).select(columns.USER_ID, LIKED, columns.RANK))
            followed.append(rows.filter(PLAYED).select(columns.USER_ID, LIKED, columns.RANK))
            displayed.append(rows.filter(pl.col(SHOWN) > 0).select(_PAIR))
            listed.append(part.group_by(columns.VIDEO_ID).agg(pl.len().cast(pl.Int64).alias("rows")))
        self.played, self.followed = pl.concat(played), pl.concat(followed)
        self.displayed = pl.concat(displayed)
        self.listed = pl.concat(listed).group_by(columns.VIDEO_ID).agg(pl.col("rows").sum())
        whole = pl.concat(cells).group_by(_CELL).agg(pl.all().sum()).sort(_CELL)
        outcome = [row | {"rank_to": ends[starts.index(row["rank_from"])]} for row in whole.to_dicts()]
        of_candidates = pl.concat(candidates).group_by("candidate_source").agg(pl.all().sum())
        return self._known(outcome), self._known(of_candidates.sort("candidate_source").to_dicts())

    def displays(self, exposures: Exposures) -> dict[str, int]:
        """Displays of listed rows and of others, and the users of the former."""
        of_rows = exposures.rows.join(self.displayed, on=_PAIR, how="semi")
        return {
            "exposures": of_rows.height,
            "other_exposures": exposures.rows.height - of_rows.height,
            "exposed_users": of_rows[columns.USER_ID].n_unique(),
        }

    def _with_displays(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self._displayed is None:
            return rows.with_columns(pl.lit(0).alias(SHOWN))
        shown = self._displayed.with_columns(pl.lit(1).alias(SHOWN))
        return rows.join(shown, on=_PAIR, how="left").with_columns(pl.col(SHOWN).fill_null(0))

    def _known(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return rows if self._displayed is not None else [row | {SHOWN: None} for row in rows]


def _by_position(
    exposures: Exposures, displayed: pl.DataFrame, log: Log, buckets: LengthBuckets
) -> list[dict[str, Any]]:
    """For each position: listed rows displayed there, and those whose play followed such a display.

    A row that was displayed at several positions counts at each; its plays at the last one before them.
    """
    position = pl.col(columns.POSITION).fill_null(0).clip(upper_bound=LAST_POSITION).cast(pl.Int64)
    own, plays = (
        frame.join(displayed, on=_PAIR, how="semi").with_columns(position)
        for frame in (exposures.rows, exposures.plays)
    )
    by_position = [columns.POSITION, *_PAIR]
    shown = own.select(by_position).unique().group_by(columns.POSITION).agg(pl.len().alias(SHOWN))
    parts = [
        log.pairs(plays.filter(pl.col(columns.POSITION) == at), buckets).select(
            pl.lit(at, dtype=pl.Int64).alias(columns.POSITION), LIKED
        )
        for at in plays[columns.POSITION].unique().to_list()
    ]
    played = pl.concat([pl.DataFrame(schema={columns.POSITION: pl.Int64, LIKED: pl.Boolean}), *parts])
    of_plays = played.group_by(columns.POSITION).agg(pl.len().alias(PLAYED), pl.col(LIKED).sum())
    found = shown.join(of_plays, on=columns.POSITION, how="left").fill_null(0).sort(columns.POSITION)
    return found.to_dicts()


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
