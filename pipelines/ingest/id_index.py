"""An index of text ids that finds the position of each exactly, in batches, with little memory.

It is a hash table in arrays. Each slot holds the position of an id or nothing; an id whose slot is taken goes
into a later one. Hashes tell which ids to compare; ids are equal only if their bytes are.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

NONE = -1
_SMALLEST_TABLE = 2**10
# In a fuller table, too many ids would be far from their slot.
_LARGEST_SHARE = 2 / 3


def hashes(ids: pl.Series) -> np.ndarray:
    """64 bits an id, the same for the same text within a process."""
    return ids.hash().to_numpy()


class GrowingArray:
    """An array that grows by appending, in place where the system can do so, with little spare memory."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._array = np.zeros(_SMALLEST_TABLE, dtype=dtype)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def values(self) -> np.ndarray:
        """The elements; do not keep the array, as `append` moves it."""
        return self._array[: self._used]

    def append(self, values: np.ndarray) -> None:
        """Add values at the end."""
        start, self._used = self._used, self._used + len(values)
        if self._used > len(self._array):
            self._array.resize(max(self._used, len(self._array) * 9 // 8), refcheck=False)
        self._array[start : self._used] = values


class IdIndex:
    """Texts, each with its position: 0, 1, ... in the order in which they were added."""

    def __init__(self) -> None:
        # All texts, concatenated, and where each ends.
        self._bytes = GrowingArray(np.uint8)
        self._ends = GrowingArray(np.int64)
        self._ends.append(np.zeros(1, dtype=np.int64))
        self._hashes = GrowingArray(np.uint64)
        self._table = np.full(_SMALLEST_TABLE, NONE)

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, ids: pl.Series) -> np.ndarray:
        """The position of each id, NONE where it is not there."""
        hashed, binary = hashes(ids), _binary(ids)
        found = np.full(len(ids), NONE)
        slots = self._slots(hashed)
        # The rows that are still looked for.
        rows = np.arange(len(ids))
        while len(rows):
            there = self._table[slots[rows]]
            rows, there = rows[there != NONE], there[there != NONE]
            same = self._hashes.values[there] == hashed[rows]
            if same.any():
                same[same] = self._are_equal(there[same], binary, rows[same])
                found[rows[same]] = there[same]
            rows = rows[~same]
            slots[rows] = self._after(slots[rows])
        return found

    def add(self, ids: pl.Series) -> None:
        """Add new ids, all of them different."""
        before, added = len(self), hashes(ids)
        binary = _binary(ids)
        ends = np.frombuffer(binary.buffers()[1], dtype=np.int64)[binary.offset :][: len(binary) + 1]
        if ends[-1] > ends[0]:
            self._bytes.append(np.frombuffer(binary.buffers()[2], dtype=np.uint8)[ends[0] : ends[-1]])
        self._ends.append(ends[1:] - ends[0] + self._ends.values[-1])
        self._hashes.append(added)
        if len(self) <= _LARGEST_SHARE * len(self._table):
            self._insert(added, before)
            return
        size = len(self._table)
        while len(self) > _LARGEST_SHARE * size:
            size *= 2
        self._table = np.full(size, NONE)
        step = _SMALLEST_TABLE**2
        for start in range(0, len(self), step):
            self._insert(self._hashes.values[start : start + step], start)

    def texts(self, positions: np.ndarray) -> pl.Series:
        """The texts at these positions; null where none was added."""
        if not len(self):
            return pl.Series([None] * len(positions), dtype=pl.String)
        return pl.Series(self._array().take(pa.array(positions)).cast(pa.large_string()))

    def _slots(self, hashed: np.ndarray) -> np.ndarray:
        return (hashed & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _after(self, slots: np.ndarray) -> np.ndarray:
        return (slots + 1) & (len(self._table) - 1)

    def _insert(self, hashed: np.ndarray, first: int) -> None:
        """Put ids with consecutive positions, from this one on, into free slots."""
        slots = self._slots(hashed)
        rows = np.arange(len(hashed))
        while len(rows):
            free = rows[self._table[slots[rows]] == NONE]
            # If several ids want the same slot, one of them gets it.
            self._table[slots[free]] = first + free
            rows = rows[self._table[slots[rows]] != first + rows]
            slots[rows] = self._after(slots[rows])

    def _are_equal(self, positions: np.ndarray, ids: pa.Array, rows: np.ndarray) -> np.ndarray:
        """Whether the text at each position equals the id in the same row."""
        equal = pc.equal(self._array().take(pa.array(positions)), ids.take(pa.array(rows)))
        return np.asarray(equal)

    def _array(self) -> pa.Array:
        """All texts, without a copy; do not keep it, as `append` moves the memory."""
        buffers = [None, pa.py_buffer(self._ends.values), pa.py_buffer(self._bytes.values)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)


def _binary(ids: pl.Series) -> pa.Array:
    return ids.to_arrow().cast(pa.large_string()).cast(pa.large_binary())
