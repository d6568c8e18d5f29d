"""Integer codes of keys in one or several columns: equal keys have equal codes, unknown keys have none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_asof.search import Int32Array, Int64Array, distinct, search

UNKNOWN = -1
# Integers in a range of at most this many values per key are looked up in an array, which takes a quarter of
# a hash table's time.
TABLE_PER_KEY = 16


@dataclass(frozen=True)
class _Column:
    """The distinct values of a key column.

    Attributes:
        low, span: integers from `low` on, `span` of them, have their codes by position; 0 if there are none.
        table: the codes of those integers; None if each of them occurs, so that the position is the code.
    """

    values: pa.Array
    low: int
    span: int
    table: Int32Array | None

    @classmethod
    def of(cls, column: pa.Array) -> "_Column":
        if pa.types.is_int64(column.type) and len(column) > column.null_count:
            bounds = pc.min_max(column)
            low, span = bounds["min"].as_py(), bounds["max"].as_py() - bounds["min"].as_py() + 1
            if span <= len(column):
                return cls._of_range(column.drop_null(), low, span)
        values = pc.unique(column).drop_null()
        if not pa.types.is_int64(values.type) or len(values) == 0:
            return cls(values, 0, 0, None)
        if span - 1 > TABLE_PER_KEY * len(values):
            return cls(values, 0, 0, None)
        table = np.full(span, UNKNOWN, dtype=np.int32)
        table[values.to_numpy() - low] = np.arange(len(values), dtype=np.int32)
        return cls(values, low, span, table)

    @classmethod
    def _of_range(cls, column: pa.Array, low: int, span: int) -> "_Column":
        """Of as many integers as rows at most, which need not be hashed to find the distinct ones."""
        occurs = np.zeros(span, dtype=bool)
        occurs[column.to_numpy() - low] = True
        positions = np.flatnonzero(occurs)
        values = pa.array(positions + low)
        if len(positions) == span:
            return cls(values, low, span, None)
        table = np.full(span, UNKNOWN, dtype=np.int32)
        table[positions] = np.arange(len(positions), dtype=np.int32)
        return cls(values, low, span, table)

    def codes(self, column: pa.Array) -> Int64Array:
        """Position of each value, int64; UNKNOWN for nulls and other values."""
        if pa.types.is_null(column.type) or pa.types.is_null(self.values.type):
            return np.full(len(column), UNKNOWN, dtype=np.int64)
        if not self.span or not pa.types.is_int64(column.type):
            found: pa.Array = pc.index_in(column, value_set=self.values).fill_null(UNKNOWN)
            return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
        numbers = column if not column.null_count else pc.fill_null(column, self.low)
        position: Int64Array = numbers.to_numpy() - np.int64(self.low)
        # What lies below `low` comes out above all positions, without a sign.
        inside = position.view(np.uint64) < self.span
        if column.null_count:
            inside &= column.is_valid().to_numpy(zero_copy_only=False)
        if not inside.all():
            position = np.where(inside, position, 0)
            codes = position if self.table is None else self.table.take(position)
            return np.where(inside, codes, UNKNOWN).astype(np.int64, copy=False)
        return position if self.table is None else self.table.take(position).astype(np.int64)


@dataclass(frozen=True)
class KeyCodes:
    """Integer codes of a source's keys.

    Attributes:
        pairs: for each key column after the first, the ascending combinations of the code so far with the
            column's code.
        size: number of distinct keys.
    """

    columns: tuple[_Column, ...]
    pairs: tuple[Int64Array, ...]
    size: int

    @classmethod
    def of(cls, keys: Sequence[pa.Array], rows: int) -> tuple["KeyCodes", Int64Array]:
        """The codes of a source's keys (an array per column), and each row's code: UNKNOWN for a null key."""
        columns = tuple(_Column.of(key) for key in keys)
        if not columns:
            return cls((), (), 1), np.zeros(rows, dtype=np.int64)
        code = columns[0].codes(keys[0])
        pairs: list[Int64Array] = []
        # Renumbered after each column, so that there are never more codes than rows, and products fit int64.
        for column, key in zip(columns[1:], keys[1:], strict=True):
            combined = _combined(code, column.codes(key), len(column.values))
            pairs.append(distinct(combined[combined >= 0]))
            code = _position(combined, pairs[-1])
        size = len(pairs[-1]) if pairs else len(columns[0].values)
        return cls(columns, tuple(pairs), size), code

    def codes(self, keys: Sequence[pa.Array], rows: int) -> Int64Array:
        """The code of each row of other arrays: int64 [rows]; UNKNOWN if the source lacks the key."""
        if not self.columns:
            return np.zeros(rows, dtype=np.int64)
        code, *others = (column.codes(key) for column, key in zip(self.columns, keys, strict=True))
        for column, other, pairs in zip(self.columns[1:], others, self.pairs, strict=True):
            code = _position(_combined(code, other, len(column.values)), pairs)
        return code


def _combined(code: Int64Array, other: Int64Array, values: int) -> Int64Array:
    """One int64 a row from two codes, the second below `values`; UNKNOWN where either is."""
    unknown = (code < 0) | (other < 0)
    combined = code * values + other
    combined[unknown] = UNKNOWN
    return combined


def _position(combined: Int64Array, pairs: Int64Array) -> Int64Array:
    """Position of each value in the ascending `pairs`, int64; UNKNOWN where it is not there."""
    if len(pairs) == 0:
        return np.full(len(combined), UNKNOWN, dtype=np.int64)
    found = np.minimum(search(pairs, np.maximum(combined, 0), "left"), len(pairs) - 1)
    return np.where(pairs[found] == combined, found, UNKNOWN)
