"""A whole number for each id: from a table if ids are close together, else by a search."""

import numpy as np
import polars as pl

_NO_CODE = -1
# The widest table of codes; if ids are spread wider, they are searched for.
_WIDTH_MIN, _WIDTH_PER_ID = 1 << 20, 4


class IdCodes:
    """A code for each id, from 0 in the order in which they come.

    If ids are close together, as KuaiRec's are, a table has the code of each: a search of millions takes
    twenty times as long as looking them up.
    """

    def __init__(self, ids: np.ndarray) -> None:
        """Prepare the look-up of codes.

        Args:
            ids: int64, distinct, in the order of their codes.
        """
        self.ids = ids
        self._table: np.ndarray | None = None
        self._first = 0

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The codes of ids; new ones get the next, in ascending order."""
        self._cover(ids)
        if self._table is None:
            new = np.setdiff1d(ids, self.ids)
        else:
            is_new = np.zeros(len(self._table), dtype=bool)
            is_new[ids - self._first] = True
            new = np.flatnonzero(is_new & (self._table == _NO_CODE)) + self._first
            self._table[new - self._first] = np.arange(len(self.ids), len(self.ids) + len(new))
        self.ids = np.concatenate([self.ids, new])
        return self.of_known(ids)

    def known(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The codes of ids, and which of them have one; the others get an arbitrary code."""
        if not len(self.ids):
            return np.zeros(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=bool)
        self._cover(ids)
        if self._table is not None:
            codes = self._table[ids - self._first]
            return np.maximum(codes, 0).astype(np.int64), codes != _NO_CODE
        order = np.argsort(self.ids)
        at = np.searchsorted(self.ids, ids, sorter=order)
        codes = order[np.minimum(at, len(order) - 1)]
        return codes, self.ids[codes] == ids

    def of_known(self, ids: np.ndarray) -> np.ndarray:
        """The codes of ids all of which have one: int32 or int64."""
        self._cover(ids)
        return self.known(ids)[0] if self._table is None else self._table[ids - self._first]

    def _cover(self, ids: np.ndarray) -> None:
        """Extend the table to these ids, if it stays small."""
        both = [some for some in (self.ids, ids) if len(some)]
        if not both:
            return
        first, last = min(int(some.min()) for some in both), max(int(some.max()) for some in both)
        if self._table is not None and self._first <= first and last < self._first + len(self._table):
            return
        width = last - first + 1
        is_small = width <= _WIDTH_MIN + _WIDTH_PER_ID * sum(map(len, both))
        self._table, self._first = (np.full(width, _NO_CODE, dtype=np.int32) if is_small else None), first
        if self._table is not None:
            self._table[self.ids - first] = np.arange(len(self.ids))


def codes_of(ids: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of whole numbers or dates, ascending, and the index of each among them: int64."""
    codes = IdCodes(np.zeros(0, dtype=np.int64))
    found = codes.of(ids.to_physical().cast(pl.Int64).to_numpy())
    return codes.ids, found.astype(np.int64)
