"""The matrix that the rankers read, composed block by block from the encoded sources by the join's positions.

What Feast computes on demand, `als_score`, `category_lift` and the time features, comes here from the same
inputs, in bulk; a test holds them equal to Feast's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from nightreel.core import columns
from nightreel.core.arrow import one_array
from nightreel.core.catalogue.formulas import hour_and_weekday, products_of_rows
from pipelines.local_days import INSTANT
from pipelines.model_rows.category_lifts import CategoryLifts
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.training_frame import FeatureFrame

_FACTOR_ROWS = 16_384


class FeatureMatrix:
    """The rows of a frame under an encoding, as float32 blocks in service order.

    Slicing, or indexing by an array of row numbers, gives float32 [rows, features]; missing values are NaN.
    Row numbers are those of the table of plays, even if the frame has only some of the plays.
    A block is column-major in memory: it is gathered and binned feature by feature.
    """

    def __init__(self, frame: FeatureFrame, encoding: FeatureEncoding) -> None:
        encoding.require(frame.names)
        self.names = frame.names
        self.views = frame.views
        self.zone = frame.zone
        # In a byte each, an eighth of the instants.
        times = hour_and_weekday(pl.Series(frame.instants).cast(INSTANT), frame.zone)
        self._hour, self._weekday = (values.cast(pl.Int8).to_numpy() for values in times)
        self._thinned = frame.thinned
        self._sources = [_EncodedView.of(frame, view, names, encoding) for view, names in frame.views.items()]
        self._als = _FactorProduct.of(frame)
        self._lifts = CategoryLifts.of(frame.job)
        self._lift_rows = [
            frame.job.positions(view) for view in (columns.USER_CATEGORIES, columns.VIDEO_PROFILE)
        ]

    def __len__(self) -> int:
        return len(self._hour)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        rows = self._thinned.index(rows)
        hour = self._hour[rows]
        matrix = np.empty((len(hour), len(self.names)), dtype=np.float32, order="F")
        for source in self._sources:
            positions = source.positions[rows]
            for column, values in enumerate(source.values, source.first):
                # Position -1, no value, wraps to the last row of the encoded source, which is NaN.
                np.take(values, positions, out=matrix[:, column], mode="wrap")
        matrix[:, self.names.index(columns.HOUR_OF_DAY)] = hour
        matrix[:, self.names.index(columns.DAY_OF_WEEK)] = self._weekday[rows]
        matrix[:, self.names.index(columns.ALS_SCORE)] = self._als.scores(rows)
        users, videos = (positions[rows] for positions in self._lift_rows)
        matrix[:, self.names.index(columns.CATEGORY_LIFT)] = self._lifts.values(users, videos)
        return matrix


@dataclass(frozen=True)
class _EncodedView:
    first: int  # the column of the view's first feature in the matrix
    values: np.ndarray  # float32 [features, source rows + 1], the last row NaN
    positions: np.ndarray  # int32 [rows]

    @classmethod
    def of(
        cls, frame: FeatureFrame, view: str, names: Sequence[str], encoding: FeatureEncoding
    ) -> "_EncodedView":
        encoded = [encoding.encode_column(name, frame.job.source_column(view, name)) for name in names]
        values = np.array([np.append(column, np.float32(np.nan)) for column in encoded])
        return cls(frame.names.index(names[0]), values, frame.job.positions(view))


@dataclass(frozen=True)
class _FactorProduct:
    users: np.ndarray  # float32 [source rows + 1, factors], the last row NaN
    videos: np.ndarray
    user_positions: np.ndarray  # int32 [rows]
    video_positions: np.ndarray

    @classmethod
    def of(cls, frame: FeatureFrame) -> "_FactorProduct":
        job = frame.job
        return cls(
            _factor_rows(job.source_column(columns.USER_FACTORS, columns.USER_FACTOR)),
            _factor_rows(job.source_column(columns.VIDEO_FACTORS, columns.VIDEO_FACTOR)),
            job.positions(columns.USER_FACTORS),
            job.positions(columns.VIDEO_FACTORS),
        )

    def scores(self, rows: slice | np.ndarray) -> np.ndarray:
        """Dot product of the two factors of each row: float32, NaN where one is missing."""
        users, videos = self.user_positions[rows], self.video_positions[rows]
        scores = np.empty(len(users), dtype=np.float32)
        # The gathered factors of a whole part of a log would take more memory than all other features.
        for start in range(0, len(users), _FACTOR_ROWS):
            part = slice(start, start + _FACTOR_ROWS)
            products_of_rows(self.users[users[part]], self.videos[videos[part]], out=scores[part])
        return scores


def _factor_rows(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """List rows as a float32 matrix; null rows are NaN, and so is one more at the end, for position -1."""
    lists = one_array(column)
    factors = max(lists.value_lengths().drop_null().to_pylist()[:1], default=0)
    matrix = np.full((len(lists) + 1, factors), np.nan, dtype=np.float32)
    matrix[:-1][lists.is_valid().to_numpy(zero_copy_only=False)] = (
        lists.flatten().to_numpy().reshape(-1, factors)
    )
    return matrix
