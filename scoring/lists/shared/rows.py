"""Rows of the lists that are not a user's, in memory: what scoring makes and publishing writes."""

from dataclasses import dataclass
from typing import Final

import polars as pl

from nightreel.core import columns
from pipelines.backtest_files import POPULAR, RELATED

# Where a row of a related list came from: from one of the two, or both.
PLAYED_TOGETHER, TEXT, BOTH = "played_together", "text", "both"
# Where a row of a popular list came from: liked by users of the segment, or only by others.
IN_SEGMENT, OVERALL_ALONE = "segment", "overall"

RELATED_SCHEMA: Final = {
    columns.VIDEO_ID: pl.Int64,
    columns.RANK: pl.Int32,
    columns.RELATED_VIDEO_ID: pl.Int64,
    columns.SCORE: pl.Float64,
    columns.SOURCE: pl.String,
}
POPULAR_SCHEMA: Final = {
    columns.SEGMENT: pl.String,
    columns.VALUE: pl.String,
    columns.RANK: pl.Int32,
    columns.VIDEO_ID: pl.Int64,
    columns.SCORE: pl.Float64,
    columns.SOURCE: pl.String,
}


@dataclass(frozen=True)
class SharedList:
    """One kind of shared lists: rows with the kind's schema, by list and rank.

    Attributes:
        expected: number of possible lists (videos, or segment values). Those with fewer than k rows, or none,
            are counted as short.
    """

    kind: str
    k: int
    expected: int
    rows: pl.DataFrame

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify the list of a row."""
        return KEYS[self.kind]


@dataclass(frozen=True)
class SharedCounts:
    """A run's counts of a kind: possible lists, and `short_lists` with fewer than k rows."""

    kind: str
    k: int
    lists: int
    short_lists: int
    rows: int


KEYS: Final = {RELATED: (columns.VIDEO_ID,), POPULAR: (columns.SEGMENT, columns.VALUE)}
