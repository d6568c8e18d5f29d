"""The as-of index: a source's rows sorted by key and time, and binary search for entity rows. Pure functions.

A lookup answers, for each entity row (key, time), which source row is the newest one known at that time:
the last row of the same key with `source time <= entity time`, within the ttl.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

NO_ROW = -1
# Entity rows looked up at a time: the temporaries stay small beside the positions themselves.
LOOKUP_ROWS = 131_072
# Where the keys times the distinct times are at most so many times the rows, as with daily values, every
# answer is written down beforehand, which is several times as fast as searching for each.
DENSE_PER_ROW = 8


@dataclass(frozen=True)
class AsOfIndex:
    """A source's rows in (key, time, created) order, as int64 ranks that pack into one sorted array.

    order: source row of each sorted row, int32 [rows]; None where the source is sorted already.
    packed: key code * (instants + 1) + rank of the time, int64 [rows], ascending.
    instants: the source's distinct times, microseconds UTC, int64, ascending.
    key_values: the distinct values of each key column, in code order. pairs: for each key column but
    the first, the distinct combinations of the codes so far with its codes, ascending.
    times, created: of the sorted rows, microseconds UTC; created is None where it is not used as a filter.
    answers: for every packed value, the sorted row that a lookup finds, int32; None where that is too many.
    """

    order: Int32Array | None
    packed: Int64Array
    instants: Int64Array
    key_values: tuple[pa.Array, ...]
    pairs: tuple[Int64Array, ...]
    times: Int64Array
    created: Int64Array | None
    answers: Int32Array | None

    @property
    def stride(self) -> int:
        """How far apart the packed values of two neighbouring keys lie."""
        return len(self.instants) + 1

    def lookup(self, keys: Sequence[pa.Array], times: Int64Array, ttl_us: int = 0) -> Int32Array:
        """The source row of each entity row, int32 [entity rows]; NO_ROW where no value was known.

        keys: one array a key column, of the source's types. times: microseconds UTC.
        ttl_us: a value older than this is not used, one exactly as old is; 0 means for ever.
        """
        # No rows, or none whose keys are all there.
        if len(self.packed) == 0 or self.packed[-1] < 0:
            return np.full(len(times), NO_ROW, dtype=np.int32)
        code = self._key_code(keys, len(times))
        wanted = np.maximum(code, 0) * self.stride + np.searchsorted(self.instants, times, side="right")
        if self.answers is not None:
            found: Int64Array = self.answers[wanted].astype(np.int64)
        else:
            found = _newest(self.packed, wanted, self.stride)
        known = (code >= 0) & (found >= 0)
        if self.created is not None:
            found, known = self._skip_created_later(found, known, code, times)
        if ttl_us:
            known &= times - self.times[np.maximum(found, 0)] <= ttl_us
        rows = found if self.order is None else self.order[np.maximum(found, 0)]
        return np.where(known, rows, NO_ROW).astype(np.int32, copy=False)

    def last_rows(self) -> Int32Array:
        """The source row of the newest value of each key, int32, in key order."""
        code = self.packed // self.stride
        ends = np.append(code[1:] != code[:-1], True)[: len(code)] & (self.packed >= 0)
        rows = np.flatnonzero(ends) if self.order is None else self.order[ends]
        return rows.astype(np.int32)

    def _key_code(self, keys: Sequence[pa.Array], rows: int) -> Int64Array:
        if not keys:
            return np.zeros(rows, dtype=np.int64)
        columns = [_codes(key, values) for key, values in zip(keys, self.key_values, strict=True)]
        code = columns[0]
        for column, values, pairs in zip(columns[1:], self.key_values[1:], self.pairs, strict=True):
            code = _position(_combine_codes(code, column, len(values)), pairs)
        return code

    def _skip_created_later(
        self, found: Int64Array, known: NDArray[np.bool_], code: Int64Array, times: Int64Array
    ) -> tuple[Int64Array, NDArray[np.bool_]]:
        """Step back from rows that were created after the entity's time, while the key stays the same."""
        assert self.created is not None
        found, known = found.copy(), known.copy()
        pending = np.flatnonzero(known & (self.created[np.maximum(found, 0)] > times))
        while len(pending):
            found[pending] -= 1
            at = np.maximum(found[pending], 0)
            same_key = (found[pending] >= 0) & (self.packed[at] >= code[pending] * self.stride)
            known[pending[~same_key]] = False
            pending = pending[same_key & (self.created[at] > times[pending])]
        return found, known


def build_index(
    keys: Sequence[pa.Array],
    times: Int64Array,
    created: Int64Array | None = None,
    *,
    filter_by_created: bool = False,
) -> AsOfIndex:
    """Index a source's rows.

    keys: one array a key column [rows]; rows with a null key match nothing. times, created: microseconds UTC.
    Among equal key and time the newest created wins, then the last row of the source.
    """
    values = tuple(pc.unique(key).drop_null() for key in keys)
    columns = [_codes(key, value) for key, value in zip(keys, values, strict=True)]
    code = columns[0] if columns else np.zeros(len(times), dtype=np.int64)
    pairs = []
    # Numbered anew after each column, so that codes never outgrow the rows, and their products int64.
    for column, value in zip(columns[1:], values[1:], strict=True):
        combined = _combine_codes(code, column, len(value))
        pairs.append(np.unique(combined[combined >= 0]))
        code = _position(combined, pairs[-1])
    instants = np.unique(times)
    # Ranks start at 1, so that rank 0 of a key lies before all its rows.
    packed = code * (len(instants) + 1) + np.searchsorted(instants, times) + 1
    packed[code < 0] = NO_ROW
    order = _order(packed, created)
    if order is not None:
        packed, times = packed[order], times[order]
        created = None if created is None else created[order]
    answers = None
    every_packed = (int(code.max(initial=NO_ROW)) + 1) * (len(instants) + 1)
    if every_packed <= DENSE_PER_ROW * len(times):
        every = np.arange(every_packed)
        answers = _newest(packed, every, len(instants) + 1).astype(np.int32)
    return AsOfIndex(
        order=order,
        packed=packed,
        instants=instants,
        key_values=values,
        pairs=tuple(pairs),
        times=times,
        created=created if filter_by_created else None,
        answers=answers,
    )


def _newest(packed: Int64Array, wanted: Int64Array, stride: int) -> Int64Array:
    """The last sorted row of the same key at or before each wanted value; NO_ROW where there is none."""
    found = np.searchsorted(packed, wanted, side="right") - 1
    same_key = (found >= 0) & (packed[np.maximum(found, 0)] >= wanted - wanted % stride)
    return np.where(same_key, found, NO_ROW)


def _codes(column: pa.Array, values: pa.Array) -> Int64Array:
    """Position of each value in `values`, int64; NO_ROW for nulls and unknown values."""
    if pa.types.is_null(column.type) or pa.types.is_null(values.type):
        return np.full(len(column), NO_ROW, dtype=np.int64)
    found: pa.Array = pc.index_in(column, value_set=values).fill_null(NO_ROW)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _combine_codes(combined: Int64Array, code: Int64Array, values: int) -> Int64Array:
    """One int64 a row from two codes, the second below `values`; NO_ROW where either is unknown."""
    unknown = (combined < 0) | (code < 0)
    combined = combined * values + code
    combined[unknown] = NO_ROW
    return combined


def _position(combined: Int64Array, pairs: Int64Array) -> Int64Array:
    """Position of each value in the ascending `pairs`, int64; NO_ROW where it is not there."""
    if len(pairs) == 0:
        return np.full(len(combined), NO_ROW, dtype=np.int64)
    found = np.minimum(np.searchsorted(pairs, combined), len(pairs) - 1)
    return np.where(pairs[found] == combined, found, NO_ROW)


def _order(packed: Int64Array, created: Int64Array | None) -> Int32Array | None:
    """The stable order by (packed, created); None where the rows stand in it already."""
    if created is None:
        if np.all(packed[1:] >= packed[:-1]):
            return None
        return np.argsort(packed, kind="stable").astype(np.int32)
    return np.lexsort((created, packed)).astype(np.int32)
