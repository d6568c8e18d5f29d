"""Protocols `related` and `popular`: the lists that are not a user's, judged by what was played that day.

`related`: two plays of a user that follow each other in one session (no more than 30 minutes between them,
and of two videos); a hit is a second video in the related list of the first. The baseline, of the same
length, is what was played most the day before, without the first video. `popular`: the videos that users
liked on the day; the list for all and the lists by segment, each user with the list of their value. The
baseline is what was liked most the day before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import ListNeeds, LogNeeds, RankerNeeds
from pipelines.backtest_files import POPULAR, RELATED, Backtest, BacktestDay, shared_file
from pipelines.evaluate.facts import SharedFacts
from pipelines.evaluate.figures import ALL, Figure
from pipelines.evaluate.next_day import ANY_PLAY
from pipelines.labels import LengthBuckets, is_liked
from pipelines.local_days import INSTANT, start_of_day
from pipelines.metrics import Bootstrap, interval_of_draws
from pipelines.training_frame import scan_plays
from pipelines.user_segments import users_by_segment

SESSION_GAP = timedelta(minutes=30)
MOST_PLAYED, MOST_LIKED = "most_played_1_day", "most_liked_1_day"
_CUTOFFS = {RELATED: (10, 20), POPULAR: (10, 20, 100)}
_LIKED, _NEXT = "liked", "next"
# A segment with more values has no figures for each value.
_VALUES_MAX = 20


@dataclass(frozen=True)
class _Asked:
    """The pairs that a system's lists of a day are judged by.

    Attributes:
        rows: user_id, rank (0: in no list), liked, and a text column for each segment.
    """

    day: BacktestDay
    system: str
    rows: pl.DataFrame


def shared_figures(
    settings: RankerNeeds, buckets: LengthBuckets, model: str
) -> tuple[list[Figure], dict[str, SharedFacts]]:
    """Every figure of both protocols, and what the command line prints of each; empty if neither is set."""
    backtest = Backtest.load(settings.paths)
    found: list[Figure] = []
    facts: dict[str, SharedFacts] = {}
    if backtest is None or backtest.model != model:
        return found, facts
    for kind, asked in ((RELATED, _related), (POPULAR, _popular)):
        days = [day for day in backtest.days if shared_file(settings.paths, day.day, kind).is_file()]
        if not days:
            continue
        own = list(
            _figures(
                kind,
                [one for day in days for one in asked(day, settings, buckets)],
                settings.data,
                settings.seed,
            )
        )
        found += own
        facts[kind] = _facts(own, settings.data)
    return found, facts


def next_plays(plays: pl.DataFrame) -> pl.DataFrame:
    """The pairs of plays that follow each other in a session: user_id, video_id, next, liked (of the next).

    Args:
        plays: user_id, video_id, event_timestamp, liked.
    """
    ordered = plays.sort(columns.USER_ID, columns.EVENT_TIMESTAMP, columns.VIDEO_ID)
    following = ordered.select(pl.all().shift(-1).name.suffix("_next"))
    both = pl.concat([ordered, following], how="horizontal")
    stamp, video = columns.EVENT_TIMESTAMP, columns.VIDEO_ID
    return both.filter(
        pl.col(columns.USER_ID) == pl.col(f"{columns.USER_ID}_next"),
        pl.col(f"{stamp}_next") - pl.col(stamp) <= SESSION_GAP,
        pl.col(video) != pl.col(f"{video}_next"),
    ).select(
        columns.USER_ID,
        video,
        pl.col(f"{video}_next").alias(_NEXT),
        pl.col(f"{_LIKED}_next").alias(_LIKED),
    )


def _related(day: BacktestDay, settings: LogNeeds, buckets: LengthBuckets) -> Iterator[_Asked]:
    lists = pl.read_parquet(shared_file(settings.paths, day.day, RELATED))
    pairs = next_plays(_plays(day, settings.paths, settings.data, buckets))
    own = lists.select(columns.VIDEO_ID, pl.col(columns.RELATED_VIDEO_ID).alias(_NEXT), columns.RANK)
    key = [columns.VIDEO_ID, _NEXT]
    yield _Asked(day, RELATED, _ranked(pairs.join(own, on=key, how="left", maintain_order="left")))
    before = _plays(_day_before(day, settings.data), settings.paths, settings.data, buckets)
    most = _most(before, _depth(lists) + 1)
    at = most.with_row_index("at", 1)
    of_current = at.select(columns.VIDEO_ID, pl.col("at").alias("current"))
    with_next = pairs.join(at.rename({columns.VIDEO_ID: _NEXT}), on=_NEXT, how="left", maintain_order="left")
    with_both = with_next.join(of_current, on=columns.VIDEO_ID, how="left", maintain_order="left")
    is_after = (pl.col("current") < pl.col("at")).fill_null(value=False)
    rank = (pl.col("at").cast(pl.Int32) - is_after.cast(pl.Int32)).alias(columns.RANK)
    yield _Asked(day, MOST_PLAYED, _ranked(with_both.with_columns(rank)))


def _popular(day: BacktestDay, settings: ListNeeds, buckets: LengthBuckets) -> Iterator[_Asked]:
    lists = pl.read_parquet(shared_file(settings.paths, day.day, POPULAR))
    segments = [one for one in lists[columns.SEGMENT].unique().sort() if one != columns.OVERALL]
    users = users_by_segment(settings.paths, settings.lists, day.as_of, segments)
    pair = [columns.USER_ID, columns.VIDEO_ID]
    pairs = (
        _plays(day, settings.paths, settings.data, buckets)
        .group_by(pair)
        .agg(pl.col(_LIKED).any())
        .sort(pair)
    )
    asked = pairs.join(users, on=columns.USER_ID, how="left", maintain_order="left")
    row = [columns.SEGMENT, columns.VALUE, columns.VIDEO_ID, columns.RANK]
    overall = lists.filter(pl.col(columns.SEGMENT) == columns.OVERALL).select(columns.VIDEO_ID, columns.RANK)
    yield _Asked(day, POPULAR, _looked_up(asked, overall))
    before = _plays(_day_before(day, settings.data), settings.paths, settings.data, buckets).filter(_LIKED)
    most = _most(before, _depth(lists))
    numbered = most.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(columns.RANK))
    yield _Asked(day, MOST_LIKED, _looked_up(asked, numbered))
    for segment in segments:
        own = lists.filter(pl.col(columns.SEGMENT) == segment).select(row)
        named = own.rename({columns.VALUE: segment}).drop(columns.SEGMENT)
        has_list = pl.col(segment).is_in(named[segment].unique().implode())
        by_value = _looked_up(asked.filter(has_list), named, segment)
        # A visitor whose value is unknown reads the list for all.
        others = _looked_up(asked.filter(has_list.not_().fill_null(value=True)), overall)
        yield _Asked(day, f"{POPULAR}_by_{segment}", pl.concat([by_value, others]))


def _looked_up(asked: pl.DataFrame, lists: pl.DataFrame, *by: str) -> pl.DataFrame:
    key = [*by, columns.VIDEO_ID]
    return _ranked(asked.join(lists, on=key, how="left", maintain_order="left"))


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    others = [name for name in rows.columns if name not in (columns.RANK, columns.VIDEO_ID, _NEXT)]
    kept = [name for name in others if name not in ("at", "current")]
    return rows.select(*kept, pl.col(columns.RANK).cast(pl.Int32).fill_null(0))


def _plays(day: BacktestDay, paths: Paths, settings: DataSettings, buckets: LengthBuckets) -> pl.DataFrame:
    """The plays of a day: user_id, video_id, event_timestamp, liked."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    begin, end = (pl.lit(one, dtype=INSTANT) for one in (day.as_of, day.until))
    plays = scan_plays(paths).filter(stamp >= begin, stamp < end).collect(engine="streaming")
    ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    liked = pl.Series(_LIKED, is_liked(settings.targets.label, buckets, ratio, length, settings))
    return plays.select(columns.USER_ID, columns.VIDEO_ID, stamp, liked)


def _day_before(day: BacktestDay, settings: DataSettings) -> BacktestDay:
    before = day.day - timedelta(days=1)
    begin = start_of_day(before, settings.zone)
    return BacktestDay(before, begin, day.as_of, day.users, day.videos, day.sampled_share, day.sampled_users)


def _depth(lists: pl.DataFrame) -> int:
    """The largest rank, 0 where there is none."""
    return int(lists.select(pl.col(columns.RANK).max()).item() or 0)


def _most(plays: pl.DataFrame, most: int) -> pl.DataFrame:
    """The videos with most of these plays, ties by id: video_id."""
    counts = plays.group_by(columns.VIDEO_ID).agg(pl.len().alias("plays"))
    return (
        counts.sort("plays", columns.VIDEO_ID, descending=[True, False]).head(most).select(columns.VIDEO_ID)
    )


def _figures(kind: str, asked: Sequence[_Asked], settings: DataSettings, seed: int) -> Iterator[Figure]:
    users = np.unique(np.concatenate([one.rows[columns.USER_ID].to_numpy() for one in asked]))
    if not len(users):
        return
    bootstrap = Bootstrap.of(len(users), seed=seed)
    depth = max(_depth(one.rows) for one in asked)
    cutoffs = [k for k in _CUTOFFS[kind] if k <= depth] or [_CUTOFFS[kind][0]]
    for system in dict.fromkeys(one.system for one in asked):
        own = [one for one in asked if one.system == system]
        for label in (settings.targets.label, ANY_PLAY):
            for part, rows in _parts(own, label):
                for metric, k, above, below in _sums(kind, rows, users, cutoffs):
                    drawn = bootstrap.sums(np.column_stack([above, below]))
                    draws = np.divide(
                        drawn[:, :1],
                        drawn[:, 1:],
                        out=np.full((len(drawn), 1), np.nan),
                        where=drawn[:, 1:] > 0,
                    )
                    if below.sum():
                        low, high = interval_of_draws(draws)[:, 0].tolist()
                        value = float(above.sum() / below.sum())
                        count = int((below > 0).sum())
                        yield Figure(kind, label, system, metric, k, part, value, low, high, count)


def _parts(asked: Sequence[_Asked], label: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of all days, of each day, and of each value of a segment with few, by the slice's name."""
    days = [one.rows if label == ANY_PLAY else one.rows.filter(_LIKED) for one in asked]
    whole = pl.concat(days)
    yield ALL, whole
    yield from ((f"day: {one.day.day}", rows) for one, rows in zip(asked, days, strict=True))
    for segment in whole.columns:
        if segment in (columns.USER_ID, columns.RANK, _LIKED):
            continue
        values = whole[segment].drop_nulls().unique().sort()
        if len(values) <= _VALUES_MAX:
            yield from ((f"{segment}: {value}", whole.filter(pl.col(segment) == value)) for value in values)


def _sums(
    kind: str, rows: pl.DataFrame, users: np.ndarray, cutoffs: Sequence[int]
) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """Each metric at each k as two float64 [users]: the numerator and the denominator."""
    user = np.searchsorted(users, rows[columns.USER_ID].to_numpy())
    rank = rows[columns.RANK].to_numpy()
    asked = np.bincount(user, minlength=len(users)).astype(np.float64)
    for k in cutoffs:
        hit = (rank > 0) & (rank <= k)
        hits = np.bincount(user, hit, minlength=len(users))
        if kind == RELATED:
            gain = np.where(hit, 1 / np.log2(np.maximum(rank, 1) + 1), 0.0)
            yield "hit_rate", k, hits, asked
            yield "ndcg", k, np.bincount(user, gain, minlength=len(users)), asked
        else:
            yield "micro_recall", k, hits, asked
            yield "hit_rate", k, (hits > 0).astype(np.float64), (asked > 0).astype(np.float64)


def _facts(own: Sequence[Figure], settings: DataSettings) -> SharedFacts:
    """How many users are behind the figures, and a table per label: each system's over all days."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for label in (settings.targets.label, ANY_PLAY):
        rows: dict[str, dict[str, Any]] = {}
        for figure in own:
            if (figure.label, figure.slice) == (label, ALL):
                row = rows.setdefault(figure.system, {"system": figure.system})
                row[f"{figure.metric}@{figure.k}"] = figure.value
        tables[label] = list(rows.values())
    return SharedFacts(users=max((figure.users for figure in own), default=0), by_label=tables)
