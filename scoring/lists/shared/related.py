"""Videos related to each video: those that users play together with it, and those with similar text.

Plays are the evidence; text helps where there are few: a similarity of 1 counts as a third of one common
play. So a new video's list comes from its text, until plays replace it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core import columns
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import FitNeeds
from pipelines.backtest_files import RELATED
from pipelines.local_days import INSTANT
from pipelines.retrieval.fits import last_cutoff
from pipelines.retrieval.played_together import PlayedTogether
from scoring.lists.shared.rows import BOTH, PLAYED_TOGETHER, RELATED_SCHEMA, TEXT, SharedList

_BLOCK_VIDEOS = 256
# For texts: the least likeness that is not noise, and how many plays a likeness counts for.
_ALIKE_MIN, _TEXT_PLAYS = 0.3, 0.3
_DECIMALS, _LIKENESS_DECIMALS = 6, 4


def related_lists(
    video_id: np.ndarray, plays: pl.LazyFrame, as_of: datetime, k: int, settings: FitNeeds
) -> SharedList:
    """The first `k` eligible videos related to each eligible video, by falling score, ties by id.

    Memory: a block of videos times all videos, and the pairs played together.

    Args:
        video_id: int64, ascending, the eligible videos.
        plays: the log; only days that ended before the instant count.
    """
    together = PlayedTogether.of(plays, last_cutoff(as_of, settings.data), settings.seed).over(video_id)
    texts = _texts(video_id, as_of, settings.paths)
    with threadpool_limits(1):
        rows = pl.concat([pl.DataFrame(schema=RELATED_SCHEMA), *_nearest(together, texts, video_id, k)])
    return SharedList(RELATED, k, len(video_id), rows)


def _texts(video_id: np.ndarray, as_of: datetime, paths: Paths) -> np.ndarray:
    """Each video's text as known then, of length 1, or 0 where it has none: float32 [videos, dimensions]."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    known = (
        pl.scan_parquet(paths.feature_source(columns.VIDEO_TEXT))
        .filter(stamp <= pl.lit(as_of, dtype=INSTANT))
        .sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
        .unique(columns.VIDEO_ID, keep="last", maintain_order=True)
    )
    asked = pl.LazyFrame({columns.VIDEO_ID: video_id})
    joined = asked.join(known, on=columns.VIDEO_ID, how="left", maintain_order="left")
    values = joined.select(pl.col(columns.TEXT_FEATURES).fill_null(0.0)).collect().to_numpy()
    length = np.linalg.norm(values, axis=1, keepdims=True)
    found: np.ndarray = np.divide(values, length, out=np.zeros_like(values), where=length > 0)
    return found.astype(np.float32)


def _nearest(together: csr_matrix, texts: np.ndarray, video_id: np.ndarray, k: int) -> Iterator[pl.DataFrame]:
    """The rows of some videos after the other."""
    videos = len(texts)
    with_text = np.flatnonzero(texts.any(axis=1))
    for start in range(0, videos, _BLOCK_VIDEOS):
        stop = min(start + _BLOCK_VIDEOS, videos)
        played = together[start:stop].tocoo()
        likeness = _Likeness.of(texts, with_text, start, stop)
        pairs = played.row.astype(np.int64) * videos + played.col
        similar = likeness.nearest(k, videos)
        similar = similar[~np.isin(similar, pairs)]
        row, other = np.divmod(np.concatenate([pairs, similar]), videos)
        by_play = np.concatenate([played.data, np.zeros(len(similar))])
        by_text = likeness.at(row, other)
        score = np.round(by_play + _TEXT_PLAYS * by_text, _DECIMALS)
        first = _first(row, other, score, k)
        row, other = row[first], other[first]
        source = np.where(by_play > 0, np.where(by_text > 0, BOTH, PLAYED_TOGETHER), TEXT)
        values = (
            video_id[start + row],
            np.arange(1, len(row) + 1) - np.searchsorted(row, row),
            video_id[other],
            score[first],
            source[first],
        )
        rows = dict(zip(RELATED_SCHEMA, values, strict=True))
        yield pl.DataFrame(rows, schema_overrides=RELATED_SCHEMA)


@dataclass(frozen=True)
class _Likeness:
    """How similar the texts of a block of videos are to all others.

    Attributes:
        rows: int64, the videos of the block that have a text, from 0.
        columns: int64, all videos that have a text.
        values: float32 [rows, columns], rounded; 0 for a hardly similar pair, and for a video and itself.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, texts: np.ndarray, with_text: np.ndarray, start: int, stop: int) -> "_Likeness":
        own = np.arange(*np.searchsorted(with_text, [start, stop]))
        values = np.round(texts[with_text[own]] @ texts[with_text].T, _LIKENESS_DECIMALS)
        values[np.arange(len(own)), own] = 0.0
        return cls(with_text[own] - start, with_text, np.where(values < _ALIKE_MIN, np.float32(0), values))

    def nearest(self, k: int, videos: int) -> np.ndarray:
        """Pairs, row * videos + column, of each row's nearest `k`, and of those equally near: int64."""
        size = self.values.shape[1]
        border = np.partition(self.values, -k, axis=1)[:, -k] if k < size else np.zeros(len(self.values))
        row, column = np.nonzero((self.values >= border[:, None]) & (self.values > 0))
        pairs: np.ndarray = self.rows[row] * videos + self.columns[column]
        return pairs

    def at(self, row: np.ndarray, video: np.ndarray) -> np.ndarray:
        """The likeness of these pairs, 0 where one of the two has no text: float64."""
        found = np.zeros(len(row))
        both = np.flatnonzero(np.isin(row, self.rows) & np.isin(video, self.columns))
        at = np.searchsorted(self.rows, row[both]), np.searchsorted(self.columns, video[both])
        found[both] = self.values[at]
        return found


def _first(row: np.ndarray, other: np.ndarray, score: np.ndarray, k: int) -> np.ndarray:
    """Positions of each row's first `k` entries above 0, by row, falling score and column."""
    order = np.lexsort((other, -score, row))
    order = order[score[order] > 0]
    rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    found: np.ndarray = order[rank < k]
    return found
