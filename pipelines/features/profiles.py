"""What users and videos are: user profiles, and video profiles with each change from when it was known."""

import polars as pl

from nightreel import columns
from nightreel.settings import Settings
from pipelines.local_days import ALWAYS_KNOWN, INSTANT, ends_of_dates, starts_of_dates

# What a video's daily record says of it, besides its counts.
DESCRIPTION = (
    columns.AUTHOR_ID,
    columns.VIDEO_TYPE,
    columns.UPLOAD_DATE,
    columns.UPLOAD_TYPE,
    columns.VISIBLE_STATUS,
    columns.VIDEO_DURATION,
)
_PLAYED_DURATION = "played_duration"


def user_profile(users: pl.DataFrame) -> pl.DataFrame:
    """The user file as it is; it bears no time, so it counts as always known."""
    return users.sort(columns.USER_ID).select(
        columns.USER_ID,
        pl.lit(ALWAYS_KNOWN, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.col(columns.USER_CATEGORICALS).cast(pl.String),
        pl.col(columns.ONEHOT_FEATURES).cast(pl.Int32),
    )


def video_profile(
    captions: pl.DataFrame, video_daily: pl.DataFrame, durations: pl.DataFrame, settings: Settings
) -> pl.DataFrame:
    """Each video's categories, always known, and its description from the end of the day that told it.

    captions: the caption table, for the categories. video_daily: video_id, date and the DESCRIPTION.
    durations: video_id, event_timestamp (a day's end), video_duration of the plays of that day; it stands in
    where no daily record has told the length so far.
    Returns a row a video at ALWAYS_KNOWN with the categories only, and one at the end of each day on which
    something became known or changed; a value once known stays until another one comes.
    """
    told = video_daily.select(
        columns.VIDEO_ID,
        ends_of_dates(video_daily[columns.LOCAL_DATE], settings.zone).alias(columns.EVENT_TIMESTAMP),
        *(name for name in DESCRIPTION if name != columns.UPLOAD_DATE),
        starts_of_dates(video_daily[columns.UPLOAD_DATE], settings.zone),
    )
    played = durations.rename({columns.VIDEO_DURATION: _PLAYED_DURATION})
    known = (
        told.join(played, on=[columns.VIDEO_ID, columns.EVENT_TIMESTAMP], how="full", coalesce=True)
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .with_columns(pl.col(*DESCRIPTION, _PLAYED_DURATION).forward_fill().over(columns.VIDEO_ID))
        .with_columns(pl.coalesce(columns.VIDEO_DURATION, _PLAYED_DURATION).alias(columns.VIDEO_DURATION))
        .drop(_PLAYED_DURATION)
    )
    first_or_changed = pl.col(columns.VIDEO_ID).is_first_distinct() | pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(name).shift(1)) for name in DESCRIPTION
    )
    categories = captions.select(columns.VIDEO_ID, *columns.CATEGORY_LEVELS)
    changes = known.filter(first_or_changed).join(categories, on=columns.VIDEO_ID, how="left")
    static = categories.with_columns(pl.lit(ALWAYS_KNOWN, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP))
    return (
        pl.concat([static, changes], how="diagonal")
        .select(
            columns.VIDEO_ID,
            columns.EVENT_TIMESTAMP,
            pl.col(columns.CATEGORY_LEVELS).cast(pl.Int32),
            pl.col(columns.AUTHOR_ID).cast(pl.Int64),
            pl.col(columns.VIDEO_TYPE, columns.UPLOAD_TYPE, columns.VISIBLE_STATUS).cast(pl.String),
            pl.col(columns.UPLOAD_DATE).cast(INSTANT),
            pl.col(columns.VIDEO_DURATION).cast(pl.Int32),
        )
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    )
