"""Dataframes of pandas, Polars or Arrow, turned into the raw files that ingest reads."""

from typing import Any

import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.ingest.uuids import frame_of, uuid_texts, without_objects

# Names that frames of other libraries use for the same columns.
_ALSO = {
    columns.USER_ID: ("user",),
    columns.VIDEO_ID: ("item_id", "item"),
    "timestamp": ("event_timestamp", "datetime", "time"),
}
_KEYS = (columns.USER_ID, columns.VIDEO_ID, "timestamp")
_RATING = "rating"
# For plays without times: a length with which half stars make whole milliseconds; the rating above which a
# play is liked; the watch_ratio of a play that is liked.
_LENGTH_MS, _STARS_LIKED_ABOVE, _LIKED = 7_000, 3.5, 2.0


def polars_of(frame: Any) -> pl.DataFrame:
    """The same data as a Polars frame. Raises InputError if it is not a dataframe, or has a name twice."""
    names = list(getattr(frame, "columns", ())) if not isinstance(frame, pa.Table) else frame.column_names
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"The frame has column {twice[0]} twice.", "Rename or drop one of the two.")
    try:
        found = _converted(frame)
    except Exception as error:  # each library raises its own
        raise InputError(
            f"{type(frame).__name__}: not a dataframe that can be read: {error}.",
            "Give a frame of pandas, Polars or Arrow.",
        ) from error
    unread = [name for name, kind in found.schema.items() if kind == pl.Object]
    if unread:
        raise InputError(
            f"{type(frame).__name__}, column {unread[0]}: objects that are not plain values.",
            "Give numbers, texts, UUIDs or times.",
        )
    return found


def _converted(frame: Any) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    if isinstance(frame, pl.DataFrame):
        return without_objects(frame)
    if isinstance(frame, pa.Table):
        return frame_of(frame)
    if type(frame).__module__.partition(".")[0] != "pandas":
        return without_objects(pl.DataFrame(frame))
    objects = [name for name in frame.columns if frame[name].dtype == object]
    texts = {name: ids for name in objects if (ids := uuid_texts(frame[name])) is not None}
    # Polars' own conversion keeps time zones.
    found: pl.DataFrame = pl.from_pandas(frame.assign(**texts))
    return found


def plays_file(frame: Any) -> tuple[pl.DataFrame, str | None]:
    """Plays with the columns of the raw file `big_matrix`.

    Args:
        frame: user_id, video_id (or item_id) and timestamp. A play's value comes from the first of these that
            the frame has: play_duration with video_duration (ms); watch_ratio; rating (stars, liked above
            3.5). Without any of them every play is liked.

    Returns:
        The plays, and the column of the frame that gave their values, if there is one.

    Raises:
        InputError: it is not a dataframe, lacks a column, or has no rows.
    """
    plays = _named(polars_of(frame), _KEYS)
    if plays.is_empty():
        raise InputError("The frame of plays has no rows.", "Give one with a row for each play.")
    if columns.PLAY_DURATION in plays.columns and columns.VIDEO_DURATION in plays.columns:
        return plays, columns.PLAY_DURATION
    value = next((name for name in (columns.WATCH_RATIO, _RATING) if name in plays.columns), None)
    ratio = pl.lit(_LIKED) if value is None else pl.col(value).cast(pl.Float64, strict=False)
    if value == _RATING:
        ratio = ratio / _STARS_LIKED_ABOVE
    made = plays.select(
        *(name for name in plays.columns if name in _KEYS),
        (ratio * _LENGTH_MS).round().cast(pl.Int64).alias(columns.PLAY_DURATION),
        pl.lit(_LENGTH_MS).alias(columns.VIDEO_DURATION),
    )
    return made, value


def keyed_file(frame: Any, key: str) -> pl.DataFrame:
    """Rows about users or videos, with the key column named as in their raw files."""
    return _named(polars_of(frame), (key,))


def _named(frame: pl.DataFrame, needed: tuple[str, ...]) -> pl.DataFrame:
    given = ", ".join(frame.columns) or "none"
    for name in needed:
        if name not in frame.columns:
            other = next((one for one in _ALSO[name] if one in frame.columns), None)
            if other is None:
                raise InputError(
                    f"The frame has no column {name}; it has {given}.",
                    f"Rename the right one to {name}.",
                )
            frame = frame.rename({other: name})
    return frame
