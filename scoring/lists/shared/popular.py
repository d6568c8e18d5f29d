"""Videos that are popular now: for all users, and for each value of the segments in the settings.

Liked plays of past days count, with weights halved every three days, as in the popularity that the evaluation
compares with. A segment's counts are shrunk to those of all users: it starts with the likes of a thousand
average users, which its own likes outweigh once there are many.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import ListNeeds
from pipelines.backtest_files import POPULAR
from pipelines.labels import LengthBuckets, is_liked
from pipelines.local_days import INSTANT, ends_of_days
from scoring.lists.popularity import faded_weights
from scoring.lists.shared.rows import IN_SEGMENT, OVERALL_ALONE, POPULAR_SCHEMA, SharedList

_PRIOR_LIKES = 1_000.0
_DECIMALS = 6
_END, _LIKES = "end", "likes"
_COUNTED = [columns.VALUE, columns.VIDEO_ID, _END]


def popular_lists(
    video_id: np.ndarray,
    batches: Iterable[pl.DataFrame],
    users: pl.DataFrame,
    as_of: datetime,
    settings: ListNeeds,
    *,
    buckets: LengthBuckets,
) -> SharedList:
    """The first popular_k videos for all users and for each value of a segment, by falling score, then id.

    Args:
        video_id: int64, ascending, the eligible videos.
        batches: the log's plays (user_id, video_id, event_timestamp, watch_ratio, video_duration in ms).
        users: user_id and the segments' columns, as texts.
    """
    counts = _counts(batches, users, as_of, settings, buckets)
    overall = _summed(counts[columns.OVERALL], video_id, as_of)
    share = overall / max(overall.sum(), 1.0)
    k = settings.lists.shared.popular_k
    parts = [_rows(columns.OVERALL, "", video_id, (overall, np.full(len(video_id), OVERALL_ALONE)), k)]
    for segment in settings.lists.shared.segments:
        for value in users[segment].drop_nulls().unique().sort():
            own = _summed(counts[segment].filter(pl.col(columns.VALUE) == value), video_id, as_of)
            score = np.round(own + _PRIOR_LIKES * share, _DECIMALS)
            source = np.where(own > 0, IN_SEGMENT, OVERALL_ALONE)
            parts.append(_rows(segment, value, video_id, (score, source), k))
    return SharedList(POPULAR, k, len(parts), pl.concat(parts))


def _counts(
    batches: Iterable[pl.DataFrame],
    users: pl.DataFrame,
    as_of: datetime,
    settings: ListNeeds,
    buckets: LengthBuckets,
) -> dict[str, pl.DataFrame]:
    """Likes by value, video and day's end, for days that had ended: a table for all, one per segment."""
    parts: dict[str, list[pl.DataFrame]] = {
        name: [] for name in (columns.OVERALL, *settings.lists.shared.segments)
    }
    for liked in _liked(batches, as_of, settings.data, buckets):
        with_values = liked.join(users, on=columns.USER_ID, how="left").with_columns(
            pl.lit("").alias(columns.OVERALL)
        )
        for name, found in parts.items():
            rows = with_values.select(pl.col(name).alias(columns.VALUE), columns.VIDEO_ID, _END)
            found.append(rows.drop_nulls().group_by(_COUNTED).agg(pl.len().cast(pl.Int64).alias(_LIKES)))
    empty = pl.DataFrame(
        schema={
            columns.VALUE: pl.String,
            columns.VIDEO_ID: pl.Int64,
            _END: INSTANT,
            _LIKES: pl.Int64,
        }
    )
    return {
        name: pl.concat([empty, *found]).group_by(_COUNTED).agg(pl.col(_LIKES).sum()).sort(_COUNTED)
        for name, found in parts.items()
    }


def _liked(
    batches: Iterable[pl.DataFrame], as_of: datetime, settings: DataSettings, buckets: LengthBuckets
) -> Iterator[pl.DataFrame]:
    for batch in batches:
        ratio, length = (batch[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
        liked = is_liked(settings.targets.label, buckets, ratio, length, settings)
        ends = ends_of_days(batch[columns.EVENT_TIMESTAMP].cast(INSTANT), settings.zone)
        yield (
            batch.select(columns.USER_ID, columns.VIDEO_ID)
            .with_columns(ends.alias(_END))
            .filter(pl.Series(liked) & (ends <= as_of))
        )


def _summed(counts: pl.DataFrame, video_id: np.ndarray, as_of: datetime) -> np.ndarray:
    """Fading likes of each video: float64 [videos]."""
    own = counts.filter(pl.col(columns.VIDEO_ID).is_in(video_id.tolist()))
    ends_us = own[_END].to_physical().to_numpy()
    at = np.searchsorted(video_id, own[columns.VIDEO_ID].to_numpy())
    weights = own[_LIKES].to_numpy() * faded_weights(ends_us, as_of)
    return np.round(np.bincount(at, weights=weights, minlength=len(video_id)), _DECIMALS)


def _rows(
    segment: str, value: str, video_id: np.ndarray, of_videos: tuple[np.ndarray, np.ndarray], k: int
) -> pl.DataFrame:
    """The rows of one segment's list.

    Args:
        of_videos: score and source of each video; those of score 0 are in no list.
    """
    score, source = of_videos
    order = np.argsort(-score, kind="stable")[:k]
    order = order[score[order] > 0]
    rows = len(order)
    values = (
        [segment] * rows,
        [value] * rows,
        np.arange(1, rows + 1),
        video_id[order],
        score[order],
        source[order],
    )
    return pl.DataFrame(dict(zip(POPULAR_SCHEMA, values, strict=True)), schema_overrides=POPULAR_SCHEMA)
