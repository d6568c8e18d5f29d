"""Cumulative aggregates of users and of videos: what had been played, and how well, up to each day's end.

Sums are of whole numbers (watch_ratio in millionths), so the result does not depend on the order in which
threads add them up, and a row is the same to the last bit whatever comes after it.
"""

from pathlib import Path

import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import ends_of_days

_RATIO_UNIT = 1_000_000
_LIKED, _RATIO, _NEW_PAIR = "liked", "ratio", "new_pair"
_PLAYS = "plays"


def read_plays(interactions: Path, settings: Settings) -> pl.DataFrame:
    """Each play with what the aggregates need, stamped with the end of its local day.

    Returns user_id, video_id int64; event_timestamp (the day's end); play_duration and video_duration int32
    (ms); liked bool; ratio int32 (clipped watch_ratio in millionths); new_pair bool (first play of its pair).
    """
    plays = pl.read_parquet(
        interactions,
        columns=[
            columns.USER_ID,
            columns.VIDEO_ID,
            columns.EVENT_TIMESTAMP,
            columns.PLAY_DURATION,
            columns.VIDEO_DURATION,
            columns.WATCH_RATIO,
        ],
    )
    liked = pl.col(columns.WATCH_RATIO).cast(pl.Float64) > settings.like_threshold
    clipped = pl.col(columns.WATCH_RATIO).cast(pl.Float64).clip(0, settings.watch_ratio_clip)
    ratio = (clipped * _RATIO_UNIT).round().cast(pl.Int32)
    pair = _codes(plays[columns.USER_ID]).cast(pl.Int64) * (plays[columns.VIDEO_ID].n_unique() + 1)
    pair = pair + _codes(plays[columns.VIDEO_ID])
    return plays.select(
        columns.USER_ID,
        columns.VIDEO_ID,
        ends_of_days(plays[columns.EVENT_TIMESTAMP], settings.zone),
        columns.PLAY_DURATION,
        columns.VIDEO_DURATION,
        liked.alias(_LIKED),
        ratio.alias(_RATIO),
        pair.is_first_distinct().alias(_NEW_PAIR),
    )


def last_durations(plays: pl.DataFrame) -> pl.DataFrame:
    """video_id, event_timestamp (a day's end), video_duration (ms) as the last play of that day gave it."""
    by_day = plays.group_by(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    return by_day.agg(pl.col(columns.VIDEO_DURATION).last())


def user_activity(plays: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """What each user had played by the end of each day with a play of theirs; one row a user and such day."""
    return _cumulative(
        plays,
        columns.USER_ID,
        settings,
        {
            _PLAYS: columns.USER_AGG_INTERACTIONS,
            _NEW_PAIR: columns.USER_AGG_UNIQUE_VIDEOS,
            _LIKED: columns.USER_AGG_LIKED_SHARE,
            _RATIO: columns.USER_AGG_WATCH_RATIO,
            columns.PLAY_DURATION: columns.USER_AGG_PLAY_DURATION,
        },
    )


def video_engagement(plays: pl.DataFrame, settings: Settings) -> pl.DataFrame:
    """How each video had been received by the end of each day with a play of it; a row for each of these."""
    return _cumulative(
        plays,
        columns.VIDEO_ID,
        settings,
        {
            _PLAYS: columns.VIDEO_AGG_VIEWS,
            _NEW_PAIR: columns.VIDEO_AGG_UNIQUE_USERS,
            _LIKED: columns.VIDEO_AGG_LIKED_SHARE,
            _RATIO: columns.VIDEO_AGG_WATCH_RATIO,
            columns.PLAY_DURATION: columns.VIDEO_AGG_PLAY_DURATION,
        },
    )


def _cumulative(plays: pl.DataFrame, key: str, settings: Settings, names: dict[str, str]) -> pl.DataFrame:
    """Running counts and smoothed running means of `key`, by day's end.

    names: from each summed column to the feature it becomes. A smoothed mean is (sum + m * overall) / (plays
    + m) with m = smoothing_plays and `overall` the mean of all plays so far: a key with few plays stays near
    what is usual (additive smoothing, Manning et al. 2008, section 11.3.2).
    """
    summed = [
        pl.len().cast(pl.Int64).alias(_PLAYS),
        *(pl.col(name).cast(pl.Int64).sum() for name in (_NEW_PAIR, _LIKED, _RATIO, columns.PLAY_DURATION)),
    ]
    daily = plays.group_by(key, columns.EVENT_TIMESTAMP).agg(summed).sort(key, columns.EVENT_TIMESTAMP)
    totals = (_PLAYS, _LIKED, _RATIO)
    overall = (
        daily.group_by(columns.EVENT_TIMESTAMP)
        .agg(pl.col(totals).sum())
        .sort(columns.EVENT_TIMESTAMP)
        .select(columns.EVENT_TIMESTAMP, pl.col(totals).cum_sum().name.prefix("overall_"))
    )
    so_far = daily.with_columns(pl.col(names).cum_sum().over(key)).join(
        overall, on=columns.EVENT_TIMESTAMP, how="left", maintain_order="left"
    )

    def smoothed(name: str) -> pl.Expr:
        usual = pl.col(f"overall_{name}") / pl.col(f"overall_{_PLAYS}")
        weight = settings.smoothing_plays
        return (pl.col(name) + weight * usual) / (pl.col(_PLAYS) + weight)

    return so_far.select(
        key,
        columns.EVENT_TIMESTAMP,
        pl.col(_PLAYS).cast(pl.Int32).alias(names[_PLAYS]),
        pl.col(_NEW_PAIR).cast(pl.Int32).alias(names[_NEW_PAIR]),
        smoothed(_LIKED).cast(pl.Float32).alias(names[_LIKED]),
        (smoothed(_RATIO) / _RATIO_UNIT).cast(pl.Float32).alias(names[_RATIO]),
        (pl.col(columns.PLAY_DURATION) / pl.col(_PLAYS)).cast(pl.Float32).alias(names[columns.PLAY_DURATION]),
    )


def _codes(ids: pl.Series) -> pl.Series:
    """Dense whole numbers from 0 in the place of ids, which may be of any size."""
    return ids.unique().sort().search_sorted(ids)
