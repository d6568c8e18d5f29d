"""Cumulative aggregates of users and of videos: what had been played, and how well, up to each day's end.

They are computed from integer sums by day, so later plays change no row, not even in the last bit.
"""

import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from pipelines.features.running_sums import running_sums
from pipelines.features.sums_of_days import LIKED, NEW_PAIR, PLAYS, RATIO, RATIO_UNIT

_TOTALS = (PLAYS, LIKED, RATIO)
SMOOTHING_PLAYS = 20.0
"""Weight of the overall mean, in plays: about a day of a KuaiRec user's."""


def overall_so_far(days: pl.DataFrame) -> pl.DataFrame:
    """Running sums over all keys by the end of each day, one row per day, in order.

    Args:
        days: the totals of each day, in order.
    """
    return days.select(columns.EVENT_TIMESTAMP, pl.col(_TOTALS).cum_sum().name.prefix("overall_"))


def user_activity(
    daily: pl.DataFrame, before: pl.DataFrame, settings: DataSettings, overall: pl.DataFrame
) -> pl.DataFrame:
    """What each user had played by the end of each day on which they played; one row per user and such day.

    Args:
        daily: sums by user and day, sorted, of some users or all.
        before: each user's totals of earlier days.
        overall: as `overall_so_far` gives it.
    """
    return _cumulative(
        daily,
        before,
        overall,
        columns.USER_ID,
        {
            PLAYS: columns.USER_AGG_INTERACTIONS,
            NEW_PAIR: columns.USER_AGG_UNIQUE_VIDEOS,
            LIKED: columns.USER_AGG_LIKED_SHARE,
            RATIO: columns.USER_AGG_WATCH_RATIO,
            columns.PLAY_DURATION: columns.USER_AGG_PLAY_DURATION,
        },
        settings=settings,
    )


def video_engagement(
    daily: pl.DataFrame, before: pl.DataFrame, settings: DataSettings, overall: pl.DataFrame
) -> pl.DataFrame:
    """How each video had been received by the end of each day with a play of it; one row each.

    Args:
        daily: sums by video and day, sorted, of some videos or all.
        before: each video's totals of earlier days.
        overall: as `overall_so_far` gives it.
    """
    return _cumulative(
        daily,
        before,
        overall,
        columns.VIDEO_ID,
        {
            PLAYS: columns.VIDEO_AGG_VIEWS,
            NEW_PAIR: columns.VIDEO_AGG_UNIQUE_USERS,
            LIKED: columns.VIDEO_AGG_LIKED_SHARE,
            RATIO: columns.VIDEO_AGG_WATCH_RATIO,
            columns.PLAY_DURATION: columns.VIDEO_AGG_PLAY_DURATION,
        },
        settings=settings,
    )


def _cumulative(
    daily: pl.DataFrame,
    before: pl.DataFrame,
    overall: pl.DataFrame,
    key: str,
    names: dict[str, str],
    *,
    settings: DataSettings,
) -> pl.DataFrame:
    """Running counts and smoothed running means of `key`, by day's end.

    A smoothed mean is (sum + m * overall) / (plays + m) with m = SMOOTHING_PLAYS and `overall` the mean of
    all plays so far: a key with few plays stays near the mean (additive smoothing, Manning et al. 2008,
    section 11.3.2).

    Args:
        names: from each summed column to the feature it becomes.
    """
    sums = running_sums(daily.select(list(names)), daily[key])
    earlier = daily.select(key).join(before, on=key, how="left", maintain_order="left")
    so_far = daily.with_columns(sums[name] + earlier[name].fill_null(0) for name in names).join(
        overall, on=columns.EVENT_TIMESTAMP, how="left", maintain_order="left"
    )

    def smoothed(name: str) -> pl.Expr:
        prior_mean = pl.col(f"overall_{name}") / pl.col(f"overall_{PLAYS}")
        return (pl.col(name) + SMOOTHING_PLAYS * prior_mean) / (pl.col(PLAYS) + SMOOTHING_PLAYS)

    # If no play has a value, it is unknown, not 0.
    duration = pl.col(columns.PLAY_DURATION) / pl.col(PLAYS) if settings.has_play_times else pl.lit(None)
    return so_far.select(
        key,
        columns.EVENT_TIMESTAMP,
        pl.col(PLAYS).cast(pl.Int32).alias(names[PLAYS]),
        pl.col(NEW_PAIR).cast(pl.Int32).alias(names[NEW_PAIR]),
        smoothed(LIKED).cast(pl.Float32).alias(names[LIKED]),
        (smoothed(RATIO) / RATIO_UNIT).cast(pl.Float32).alias(names[RATIO]),
        duration.cast(pl.Float32).alias(names[columns.PLAY_DURATION]),
    )
