"""Bins feature rows for LightGBM part by part, ahead of use: composed by feature, and sorted by video.

LightGBM bins on one thread, so the next part is binned while trees are fitted on the current one. Sorted by
video, rows are binned in less than half of the time. But trees grow more slowly on neighbours of one video,
as each is added to the sums that the one before has just changed; so trees are fitted on rows that come from
many strands in turn, each of them sorted by video. Both are measured in docs/decisions/boosting.md. Only one
part is prepared ahead, and not before the features of the one in use are forgotten: half a million plays
take 0.2 GB.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
import pyarrow as pa

from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.data_sets import filled

SAMPLE_ROWS = 200_000
_STRANDS = 128


class Matrix(Protocol):
    """Feature rows, composed when asked for: float32 [rows, features]."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray: ...


@dataclass
class Part:
    """Some rows of a matrix, binned.

    Attributes:
        rows: their numbers in the matrix, in the order in which they are binned.
        features: float32 [rows, features]; None where they are not kept, or not needed any more.
        following: begins to prepare the part after this one; None where that has begun, or there is none.
    """

    rows: np.ndarray
    data: lgb.Dataset
    features: np.ndarray | None = None
    following: Callable[[], None] | None = None

    def forget_features(self) -> None:
        """Free the features, which are four times as large as the bins, and let the next part be prepared."""
        self.features = None
        begin, self.following = self.following, None
        if begin is not None:
            begin()

    def copy(self) -> "Part":
        """The same rows for another model, as a data set has one target. Copying the bins takes no time."""
        return Part(self.rows, self.data.subset(range(len(self.rows))).construct(), self.features)


class Binning:
    """The bins of a sample of the rows that are fitted on, and parts binned by them."""

    def __init__(
        self,
        matrix: Matrix,
        fitted: range,
        video_id: np.ndarray,
        encoding: FeatureEncoding,
        parameters: dict[str, Any],
        *,
        keeps_features: bool = False,
    ) -> None:
        """Find the bins.

        Args:
            video_id: int64, of every row of the matrix.
            parameters: LightGBM's, with a seed.
            keeps_features: whether a part keeps its features besides its bins, which are a quarter as large.
        """
        self._keeps_features = keeps_features
        self._matrix = matrix
        self._fitted = fitted
        self._video_id = video_id
        self._named: dict[str, Any] = {
            "feature_name": list(encoding.names),
            "categorical_feature": list(encoding.categorical),
            "params": parameters,
        }
        random = np.random.default_rng(parameters["seed"])
        chosen = np.sort(random.choice(len(fitted), min(len(fitted), SAMPLE_ROWS), replace=False))
        self._bins = filled(lgb.Dataset(matrix[fitted.start + fitted.step * chosen], **self._named))

    def part(self, rows: range | np.ndarray, *, in_strands: bool = False) -> Part:
        """Bin these ascending rows, sorted by video.

        Args:
            in_strands: whether rows of neighbouring videos are kept apart, for trees to be fitted on them.
        """
        order = _numbers(rows)
        order = order[np.argsort(self._video_id[order], kind="stable")]
        if in_strands:
            order = _in_strands(order)
        block = self.features(order)
        table = pa.table([pa.array(column) for column in block.T], names=self._named["feature_name"])
        data = filled(lgb.Dataset(table, reference=self._bins, **self._named))
        return Part(order, data, block if self._keeps_features else None)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """The features of these rows: float32 [rows, features], each column contiguous in memory."""
        return np.asfortranarray(self._matrix[rows])

    def parts(self, rows: range | np.ndarray, parts: int) -> Iterator[Part]:
        """Split ascending rows that are fitted on into parts; while one is in use, the next is binned.

        A row's part depends on its number alone, so several workers split the rows just as one does.
        """
        numbers = _numbers(rows)
        dealt = ((numbers - self._fitted.start) // self._fitted.step % parts).astype(np.uint16)
        waiting: list[Future[Part]] = []
        with ThreadPoolExecutor(1) as pool:

            def prepare(position: int) -> None:
                waiting.append(pool.submit(self.part, numbers[dealt == position], in_strands=True))

            prepare(0)
            for position in range(1, parts + 1):
                part = waiting.pop().result()
                if position < parts:
                    part.following = partial(prepare, position)
                if not self._keeps_features:
                    part.forget_features()
                yield part
                part.forget_features()


def _in_strands(rows: np.ndarray) -> np.ndarray:
    """The same rows, one from each of _STRANDS equal strands in turn; those left over come last."""
    length = len(rows) // _STRANDS
    in_turn = rows[: length * _STRANDS].reshape(_STRANDS, length).T.ravel()
    return np.concatenate([in_turn, rows[length * _STRANDS :]])


def _numbers(rows: range | np.ndarray) -> np.ndarray:
    """As an array: int64. NumPy itself makes a Python number of each element of a range first."""
    return np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows
