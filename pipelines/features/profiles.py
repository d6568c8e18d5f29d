"""Profiles of users and videos; each change has the instant at which it became known.

User and caption files have no times. The content of the first load counts as always known; a delivery's
changes count from its arrival on, so that no earlier play sees them.
"""

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.formulas import LENGTH_EDGES_MS
from nightreel.core.settings import DataSettings
from pipelines.local_days import ALWAYS_KNOWN, INSTANT, ends_of_dates, starts_of_dates

# Attributes of a video in its daily records, besides the counts.
DESCRIPTION = (
    columns.AUTHOR_ID,
    columns.VIDEO_TYPE,
    columns.UPLOAD_DATE,
    columns.UPLOAD_TYPE,
    columns.VISIBLE_STATUS,
    columns.VIDEO_DURATION,
    columns.VIDEO_TAG,
)
# Columns that a file of items may have, too; that file then takes precedence.
OF_ITEMS = (columns.AUTHOR_ID, columns.UPLOAD_DATE, columns.VIDEO_DURATION, columns.VIDEO_TAG)
_BY_ITEMS = "{}_of_items"
_PLAYED_DURATION = "played_duration"


def user_profile(users: pl.DataFrame) -> pl.DataFrame:
    """Each user's attributes: a row for the first load, and one for each arrival that changed them.

    Args:
        users: the user table and the rows that were replaced in it; created_timestamp may be missing.
    """
    values = [*columns.USER_CATEGORICALS, *columns.ONEHOT_FEATURES]
    return _changes(users, columns.USER_ID, values).select(
        columns.USER_ID,
        columns.EVENT_TIMESTAMP,
        pl.col(columns.USER_CATEGORICALS).cast(pl.String),
        pl.col(columns.ONEHOT_FEATURES).cast(pl.Int32),
    )


def video_profile(
    captions: pl.DataFrame, video_daily: pl.DataFrame, durations: pl.DataFrame, settings: DataSettings
) -> pl.DataFrame:
    """Each video's categories, from when they were known, and its description from the end of its day.

    Args:
        captions: the caption table and the rows that were replaced in it, for the categories and what it has
            of OF_ITEMS; created_timestamp may be missing.
        video_daily: video_id, date and the columns of DESCRIPTION, of which the tag may be missing; records
            that repeat the one before may be left out.
        durations: video_id, event_timestamp (a day's end), video_duration (ms) of the plays of that day,
            sorted; used where no daily record has given the length so far.

    Returns:
        One row per video with the categories of the first load at ALWAYS_KNOWN, one at each arrival that
        changed them, and one at the end of each day on which something else became known or changed; a value
        once known stays until another one comes.
    """
    if columns.VIDEO_TAG not in video_daily.columns:
        video_daily = video_daily.with_columns(pl.lit(None, dtype=pl.Int64).alias(columns.VIDEO_TAG))
    recorded = video_daily.select(
        columns.VIDEO_ID,
        ends_of_dates(video_daily[columns.LOCAL_DATE], settings.zone).alias(columns.EVENT_TIMESTAMP),
        *(name for name in DESCRIPTION if name != columns.UPLOAD_DATE),
        starts_of_dates(video_daily[columns.UPLOAD_DATE], settings.zone),
    )
    # A row that repeats the one before of its video changes nothing that is known.
    played = without_repeats(durations, [columns.VIDEO_DURATION])
    played = played.rename({columns.VIDEO_DURATION: _PLAYED_DURATION})
    known = (
        recorded.join(played, on=[columns.VIDEO_ID, columns.EVENT_TIMESTAMP], how="full", coalesce=True)
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .with_columns(pl.col(*DESCRIPTION, _PLAYED_DURATION).forward_fill().over(columns.VIDEO_ID))
        .with_columns(pl.coalesce(columns.VIDEO_DURATION, _PLAYED_DURATION).alias(columns.VIDEO_DURATION))
        .drop(_PLAYED_DURATION)
    )
    changes = without_repeats(known, list(DESCRIPTION))
    of_items = [name for name in OF_ITEMS if name in captions.columns]
    if columns.UPLOAD_DATE in of_items:
        captions = captions.with_columns(starts_of_dates(captions[columns.UPLOAD_DATE], settings.zone))
    captions = captions.rename({name: _BY_ITEMS.format(name) for name in of_items})
    by_items = [_BY_ITEMS.format(name) for name in of_items]
    categories = _changes(captions, columns.VIDEO_ID, [*columns.CATEGORY_LEVELS, *by_items])
    return (
        pl.concat([_with_known(categories, changes), _with_known(changes, categories)], how="diagonal")
        # If both happen at one instant, the two rows are the same.
        .unique([columns.VIDEO_ID, columns.EVENT_TIMESTAMP])
        .with_columns(
            pl.coalesce(said, name).alias(name) for name, said in zip(of_items, by_items, strict=True)
        )
        .select(
            columns.VIDEO_ID,
            columns.EVENT_TIMESTAMP,
            pl.col(columns.CATEGORY_LEVELS).cast(pl.Int32),
            pl.col(columns.AUTHOR_ID, columns.VIDEO_TAG).cast(pl.Int64),
            pl.col(columns.VIDEO_TYPE, columns.UPLOAD_TYPE, columns.VISIBLE_STATUS).cast(pl.String),
            pl.col(columns.UPLOAD_DATE).cast(INSTANT),
            pl.col(columns.VIDEO_DURATION).cast(pl.Int32),
        )
        .with_columns(length_range(columns.VIDEO_DURATION).alias(columns.VIDEO_LENGTH))
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    )


def without_repeats(rows: pl.DataFrame, values: list[str]) -> pl.DataFrame:
    """The rows that differ in these columns from the video's row before.

    Args:
        rows: in order of video_id and time.
    """
    first_or_other = pl.col(columns.VIDEO_ID).is_first_distinct() | pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(name).shift(1)) for name in values
    )
    return rows.filter(first_or_other)


def length_range(duration_ms: str) -> pl.Expr:
    """The number of the range that a length is in, from 0; null where it is unknown: int32."""
    above = (pl.col(duration_ms) >= edge for edge in LENGTH_EDGES_MS)
    return pl.sum_horizontal(*above, ignore_nulls=False).cast(pl.Int32)


def _changes(versions: pl.DataFrame, key: str, values: list[str]) -> pl.DataFrame:
    """The versions of each key that differ from the one before, stamped by arrival."""
    if columns.CREATED_TIMESTAMP not in versions.columns:
        versions = versions.with_columns(pl.lit(ALWAYS_KNOWN, dtype=INSTANT).alias(columns.CREATED_TIMESTAMP))
    changed = pl.col(key).ne_missing(pl.col(key).shift(1)) | pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(name).shift(1)) for name in values
    )
    return (
        versions.sort(key, columns.CREATED_TIMESTAMP)
        .filter(changed)
        .select(key, pl.col(columns.CREATED_TIMESTAMP).alias(columns.EVENT_TIMESTAMP), *values)
    )


def _with_known(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The videos' rows, with unknown values filled from earlier rows of the same video."""
    order = [columns.EVENT_TIMESTAMP, columns.VIDEO_ID]
    return rows.sort(order).join_asof(
        others.sort(order), on=columns.EVENT_TIMESTAMP, by=columns.VIDEO_ID, check_sortedness=False
    )
