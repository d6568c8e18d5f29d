"""How much more users like categories than their plays on the whole, looked up for any pair.

The same number that Feast's on-demand view `category_lift` gives; a test holds both equal.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_asof import AsOfRetrievalJob
from nightreel.core import columns
from nightreel.core.arrow import one_array
from nightreel.core.ascending import indices_in

_ROWS_AT_A_TIME = 65_536


@dataclass(frozen=True)
class CategoryLifts:
    """The lists of a join's source as a table, and the category of each row of the videos' source.

    Attributes:
        table: float32 [lists + 1, categories + 2], NaN for a user without a list, as in the last row, and for
            videos without a category, in the last column; the column before it, of a category that none of
            these users has played yet, is 0.
        of_video: int32 [rows of videos' source + 1], a column of the table each.
    """

    table: np.ndarray
    of_video: np.ndarray

    @classmethod
    def of(cls, job: AsOfRetrievalJob, users: np.ndarray | None = None) -> "CategoryLifts":
        """Read both sources of a join of the service.

        Args:
            users: int64, rows of the users' source, -1 for none; by default all of them.
        """
        ids = _list_column(job, columns.USER_CATEGORY_IDS, users)
        lifts = _list_column(job, columns.USER_CATEGORY_LIFTS, users)
        categories = np.sort(pc.unique(ids.flatten()).to_numpy())
        table = np.zeros((len(ids) + 1, len(categories) + 2), dtype=np.float32)
        table[-1], table[:, -1] = np.nan, np.nan
        table[:-1][ids.is_null().to_numpy(zero_copy_only=False)] = np.nan
        for start in range(0, len(ids), _ROWS_AT_A_TIME):
            part = ids[start : start + _ROWS_AT_A_TIME]
            row = start + np.repeat(np.arange(len(part)), pc.list_value_length(part).fill_null(0).to_numpy())
            column = np.searchsorted(categories, part.flatten().to_numpy())
            table[row, column] = lifts[start : start + _ROWS_AT_A_TIME].flatten().to_numpy()
        of_video = job.source_column(columns.VIDEO_PROFILE, columns.CATEGORY_LEVELS[0])
        return cls(table, _columns_of(of_video, categories))

    @property
    def groups(self) -> int:
        """The number of columns of the table, without the one for videos without a category."""
        return int(self.table.shape[1]) - 1

    def values(self, users: np.ndarray, videos: np.ndarray) -> np.ndarray:
        """The feature of pairs.

        Args:
            users: rows of the table, -1 for none.
            videos: rows of the videos' source, -1 for none.

        Returns:
            float32 [pairs], NaN where it is unknown.
        """
        # Row -1, none, wraps to the last one.
        found: np.ndarray = self.table[users, self.of_video[videos]]
        return found


def _list_column(job: AsOfRetrievalJob, name: str, rows: np.ndarray | None) -> pa.ListArray:
    column = job.source_column(columns.USER_CATEGORIES, name)
    if rows is not None:
        column = column.take(pa.array(rows, mask=rows < 0))
    return one_array(column)


def _columns_of(category: pa.Array, categories: np.ndarray) -> np.ndarray:
    """The table's column of each row of the videos' source, and of none: int32 [rows + 1]."""
    found = np.full(len(category) + 1, len(categories) + 1, dtype=np.int32)
    known = category.is_valid().to_numpy(zero_copy_only=False)
    ids = category.drop_null().to_numpy()
    at, is_played = indices_in(categories, ids)
    found[:-1][known] = np.where(is_played, at, len(categories))
    return found
