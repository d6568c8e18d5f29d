"""Bins feature rows for LightGBM part by part: composed feature by feature, sorted by video, in parallel.

LightGBM bins on one thread, so each part has a thread of its own. It finds a bin by binary search, which a
processor does quickly where it guesses the turns: plays of one video, one after the other, share half of the
features and so most turns. On 450,000 plays of KuaiRec's size, CPU seconds: LightGBM's Sequence
in order of time 2.4, Arrow columns 1.7, Arrow columns sorted by video 0.7. Trees are then applied to such a
part in three quarters of the time, too.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np
import pyarrow as pa

from pipelines.rankers.encoding import FeatureEncoding

SAMPLE_ROWS = 200_000


class Matrix(Protocol):
    """Feature rows, composed when asked for: float32 [rows, features]."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Part:
    """Some rows of a matrix, binned; rows: which they are, in the order in which they are binned."""

    rows: np.ndarray
    data: lgb.Dataset


class Binning:
    """The bins of a sample of the rows that are fitted on, and parts binned by them."""

    def __init__(
        self,
        matrix: Matrix,
        fitted: range,
        video_id: np.ndarray,
        encoding: FeatureEncoding,
        parameters: dict[str, Any],
    ) -> None:
        """Find the bins. video_id: of every row of the matrix. parameters: LightGBM's, with a seed."""
        self._matrix = matrix
        self._video_id = video_id
        self._named: dict[str, Any] = {
            "feature_name": list(encoding.names),
            "categorical_feature": list(encoding.categorical),
            "params": parameters,
        }
        random = np.random.default_rng(parameters["seed"])
        chosen = np.sort(random.choice(len(fitted), min(len(fitted), SAMPLE_ROWS), replace=False))
        self._bins = lgb.Dataset(matrix[chosen + fitted.start], **self._named).construct()

    def part(self, rows: range | np.ndarray) -> Part:
        """These rows, which ascend, sorted by video and binned."""
        order = np.asarray(rows)
        order = order[np.argsort(self._video_id[order], kind="stable")]
        block = np.asfortranarray(self._matrix[order])
        table = pa.table([pa.array(column) for column in block.T], names=self._named["feature_name"])
        return Part(order, lgb.Dataset(table, reference=self._bins, **self._named).construct())

    def parts(self, rows: range, parts: int, threads: int) -> Iterator[Part]:
        """Deal the rows into parts, every n-th to the same, and bin as many at once as there are threads."""
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, parts, threads):
                group = range(first, min(first + threads, parts))
                yield from pool.map(self.part, [rows[part::parts] for part in group])
