"""Formulas of on-demand features, of a pair or an instant: each written once, for Feast and for arrays."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from nightreel.core.instants import DAY_US

# How many plays the prior counts for in the share of a video, and in that of a user with a group of videos.
VIDEO_PRIOR_PLAYS, GROUP_PRIOR_PLAYS = 10.0, 5.0
# Where ranges of video_duration begin: most short videos last 5 to 20 s.
LENGTH_EDGES_MS = (
    3_000,
    5_000,
    7_000,
    9_000,
    11_000,
    14_000,
    18_000,
    25_000,
    40_000,
    60_000,
    120_000,
    300_000,
)
_BLAS_ROWS = 8


def hour_and_weekday(instants: pl.Series, zone: ZoneInfo) -> tuple[pl.Series, pl.Series]:
    """Hour (0..23) and weekday (Monday: 0), int64, of UTC microsecond instants in a zone; null stays null."""
    local = instants.dt.convert_time_zone(zone.key)
    return local.dt.hour().cast(pl.Int64), local.dt.weekday().cast(pl.Int64) - 1


def shrunk_share(liked: Any, plays: Any, usual: Any, weight: float) -> Any:
    """Share of liked plays, shrunk to the prior `usual` as if by `weight` more plays; for arrays."""
    return (liked + weight * usual) / (plays + weight)


def lift(liked: Any, plays: Any, usual: Any) -> Any:
    """How far a share of liked plays, shrunk to the prior `usual`, is above it; for arrays."""
    return (liked - plays * usual) / (plays + GROUP_PRIOR_PLAYS)


def days_between(earlier_us: Any, later_us: Any) -> Any:
    """Days from one instant to another, both in microseconds since 1970 UTC; for arrays."""
    return (later_us - earlier_us) / DAY_US


def products_of_rows(users: np.ndarray, videos: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """als_score of pairs: dot products of the rows of two float32 [pairs, factors]; NaN where one is NaN."""
    found: np.ndarray = np.einsum("ij,ij->i", users, videos, out=out)
    return found


def products_with(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """als_score of one user with many videos, or one video with many users: float32 [rows].

    A row's result does not depend on the other rows. BLAS takes rows by eights and adds up the remainder in
    another order, so the rows are padded to a multiple of eight.
    """
    whole = len(rows) - len(rows) % _BLAS_ROWS
    scores = np.empty(len(rows), dtype=np.float32)
    np.dot(rows[:whole], vector, out=scores[:whole])
    if whole < len(rows):
        rest = np.zeros((_BLAS_ROWS, rows.shape[1]), dtype=np.float32)
        rest[: len(rows) - whole] = rows[whole:]
        scores[whole:] = (rest @ vector)[: len(rows) - whole]
    return scores


def products_of_lists(users: Sequence[Any], videos: Sequence[Any]) -> np.ndarray:
    """als_score of pairs whose factors are lists or None: float32 [pairs], NaN if one has no factors.

    Lists of different lengths come from different settings and give NaN, too.
    """
    scores = np.full(len(users), np.nan, dtype=np.float32)
    lengths = np.array([_length(*pair) for pair in zip(users, videos, strict=True)], dtype=np.int64)
    for length in np.unique(lengths[lengths > 0]).tolist():
        rows = np.flatnonzero(lengths == length)
        left, right = (
            np.array([side[row] for row in rows.tolist()], dtype=np.float32) for side in (users, videos)
        )
        scores[rows] = products_of_rows(left, right)
    return scores


def _length(user: Any, video: Any) -> int:
    if user is None or video is None:
        return 0
    sizes = {int(np.size(user)), int(np.size(video))}
    return sizes.pop() if len(sizes) == 1 else 0
