"""The as-of index: a source's rows sorted by key and time, and binary search for entity rows. Pure functions.

For each entity row (key, time), a lookup finds the newest source row known at that time: the last row with
the same key and `source time <= entity time`, within the ttl.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_asof.key_codes import KeyCodes
from feast_asof.search import (
    Int32Array,
    Int64Array,
    Runs,
    distinct,
    is_ascending,
    search,
    stable_order,
    stable_order_of_few,
)
from feast_asof.times import LATEST, MISSING, NANOSECONDS, Instants, Unit

NO_ROW = -1
# If keys times distinct times are at most this many times the rows, as with daily values, every answer is
# computed beforehand, which is several times as fast as a search for each.
DENSE_PER_ROW = 8
# Instants of so many rows are looked at to see that a source has too many for that.
SAMPLE_ROWS = 1 << 14


@dataclass(frozen=True)
class TimeRanks:
    """Ranks of a source's instants, from 1 for the first; rank 0 is before all of them.

    Attributes:
        instants: ascending; the rank is the index plus 1. None if every unit of time between the first and
            the last has its own rank, which saves a search.
    """

    unit: Unit
    first: int
    size: int
    instants: Int64Array | None

    def of(self, values: Int64Array) -> Int64Array:
        """Rank of the newest instant at or before each value."""
        if self.instants is not None:
            if len(self.instants) < len(values) and is_ascending(values):
                # The values between two instants follow each other.
                bounds = np.searchsorted(values, self.instants)
                return np.repeat(np.arange(self.size + 1), np.diff(bounds, prepend=0, append=len(values)))
            return search(self.instants, values, "right")
        before = self.first - 1
        return np.clip(values, before, before + self.size) - before

    def instant(self, ranks: Int64Array) -> Int64Array:
        """The instant of each rank (at least 1)."""
        return ranks + (self.first - 1) if self.instants is None else self.instants[ranks - 1]


@dataclass(frozen=True)
class AsOfIndex:
    """A source's rows in (key, time, created) order, packed into one sorted array.

    Attributes:
        order: int32 [rows], source row of each sorted row; None if the source is sorted already.
        packed: int64 [rows], ascending, key code * stride + rank of the time; NO_ROW for rows that nothing
            matches.
        created: of the sorted rows; None unless it is used as a filter.
        stride: distance between the packed values of two consecutive keys.
        answers: int32, the sorted row that a lookup of each possible packed value finds; None if there are
            too many values.
        runs: of `packed`, each within a key; None if there are answers, or if a run is too long.
    """

    order: Int32Array | None
    packed: Int64Array
    keys: KeyCodes
    ranks: TimeRanks
    created: Instants | None
    stride: int
    answers: Int32Array | None
    runs: Runs | None

    def lookup(self, keys: Sequence[pa.Array], times: Instants, ttl_us: int = 0) -> Int32Array:
        """The source row of each entity row.

        Args:
            keys: one array per key column, with the source's types.
            times: one instant per entity row.
            ttl_us: microseconds; an older value is not used, one exactly as old is. 0: no limit.

        Returns:
            int32 [entity rows]; NO_ROW if no value was known.
        """
        # No rows, or none that has its keys and a time.
        if len(self.packed) == 0 or self.packed[-1] < 0:
            return np.full(len(times), NO_ROW, dtype=np.int32)
        code = self.keys.codes(keys, len(times))
        has_key = code >= 0
        every_key = bool(has_key.all())
        before = (code if every_key else np.maximum(code, 0)) * self.stride
        asked = before + self.ranks.of(times.floor(self.ranks.unit))
        found = self._last(asked, before)
        known = found >= 0
        if not every_key:
            known &= has_key
        if self.created is not None:
            found, known = self._skip_created_later(np.maximum(found, 0), known, before, times)
        if ttl_us:
            newest = self.ranks.instant(np.maximum(self.packed[np.maximum(found, 0)] - before, 1))
            known &= newest >= _oldest(times, ttl_us, self.ranks.unit)
        rows = found if self.order is None else self.order.take(found, mode="clip")
        return (rows if known.all() else np.where(known, rows, NO_ROW)).astype(np.int32, copy=False)

    def last_rows(self) -> Int32Array:
        """The source row of each key's newest value: int32, in key order."""
        code = self.packed // self.stride
        ends = np.append(code[1:] != code[:-1], True)[: len(code)] & (self.packed >= 0)
        rows = np.flatnonzero(ends) if self.order is None else self.order[ends]
        return rows.astype(np.int32)

    def _last(self, asked: Int64Array, before: Int64Array) -> Int64Array:
        """The sorted row that each packed value finds; negative if its key, from `before` on, has none."""
        if self.answers is not None:
            return self.answers.take(asked).astype(np.int64)
        if self.runs is None:
            return _newest(self.packed, asked, before)
        found = self.runs.last(self.packed, asked)
        return np.where(found >= self.runs.starts.take(before >> self.runs.bits), found, NO_ROW)

    def _skip_created_later(
        self, found: Int64Array, known: NDArray[np.bool_], before: Int64Array, times: Instants
    ) -> tuple[Int64Array, NDArray[np.bool_]]:
        """Step back from rows that were created after the entity's time, while the key stays the same."""
        assert self.created is not None
        asked, created = times.floor(self.created.unit), self.created.values
        found, known = found.copy(), known.copy()
        pending = np.flatnonzero(known & (created[found] > asked))
        while len(pending):
            found[pending] -= 1
            at = np.maximum(found[pending], 0)
            same_key = (found[pending] >= 0) & (self.packed[at] >= before[pending])
            known[pending[~same_key]] = False
            found[pending] = at
            pending = pending[same_key & (created[at] > asked[pending])]
        return found, known


def build_index(
    keys: Sequence[pa.Array],
    times: Instants,
    created: Instants | None = None,
    *,
    filter_by_created: bool = False,
) -> AsOfIndex:
    """Index a source's rows.

    Among rows of equal key and time the newest `created` wins, then the last row of the source.

    Args:
        keys: one array [rows] per key column. Rows with a null key or no time match nothing.
        filter_by_created: whether lookups also ignore rows created after the entity row's time.
    """
    codes, code = KeyCodes.of(keys, len(times))
    ranks, every_packed = _ranks(times, codes.size)
    is_dense = every_packed <= DENSE_PER_ROW * len(times)
    run_bits = 0 if is_dense else _run_bits(every_packed, len(times))
    # No run holds values of two keys.
    stride = -(-(ranks.size + 1) >> run_bits) << run_bits
    packed = code * stride
    packed += ranks.of(times.values)
    packed[(code < 0) | times.missing] = NO_ROW
    order = _order_by_key(code, codes.size, times) if created is None else None
    if order is None:
        order = _order(packed, created)
    if order is not None:
        packed = packed[order]
        created = None if created is None else Instants(created.values[order], created.unit)
    return AsOfIndex(
        order=order,
        packed=packed,
        keys=codes,
        ranks=ranks,
        created=created if filter_by_created else None,
        stride=stride,
        answers=_answers(packed, codes.size, stride) if is_dense else None,
        runs=None if is_dense else Runs.of(packed, codes.size * stride, run_bits),
    )


def _run_bits(every_packed: int, rows: int) -> int:
    """By how many bits the packed values of a run differ, if there are two to four runs per row.

    Then a run has few values, and a search few steps; more runs would leave the cache.
    """
    return max(every_packed // max(2 * rows, 1), 1).bit_length() - 1


def _answers(packed: Int64Array, keys: int, stride: int) -> Int32Array:
    """What a lookup of each possible packed value finds: the last sorted row of the same key up to it."""
    answers = np.full(keys * stride, NO_ROW, dtype=np.int32)
    first = int(np.searchsorted(packed, 0))
    # Of equal values, the last one counts.
    answers[packed[first:]] = np.arange(first, len(packed), dtype=np.int32)
    by_key = answers.reshape(keys, stride)
    np.maximum.accumulate(by_key, axis=1, out=by_key)
    return answers


def _ranks(times: Instants, keys: int) -> tuple[TimeRanks, int]:
    """The ranks of a source's times, and the number of packed values with this many keys."""
    # More instants than these would take answers of more than DENSE_PER_ROW times the rows.
    dense_instants = DENSE_PER_ROW * len(times) // max(keys, 1)
    known = times.values[~times.missing] if np.any(times.missing) else times.values
    if len(known) == 0:
        return TimeRanks(times.unit, 0, 0, None), keys
    first = int(known.min())
    span = int(known.max()) - first + 1
    own_rank = TimeRanks(times.unit, first, span, None)
    # Twice the span, as the values of a key are rounded up to whole runs.
    fits = keys * 2 * (span + 1) <= LATEST
    if fits and len(distinct(known[:: max(len(known) // SAMPLE_ROWS, 1)])) > dense_instants:
        return own_rank, keys * (span + 1)
    instants = distinct(known)
    if fits and keys * (len(instants) + 1) > DENSE_PER_ROW * len(times):
        return own_rank, keys * (span + 1)
    return TimeRanks(times.unit, first, len(instants), instants), keys * (len(instants) + 1)


def _oldest(times: Instants, ttl_us: int, unit: Unit) -> Int64Array:
    """The oldest instant that a value may have at each time, as far back as int64 goes."""
    oldest, ttl = times.ceil(unit), ttl_us * (NANOSECONDS if unit == "ns" else 1)
    # No two instants are further apart than two of these steps.
    for step in (min(ttl, LATEST), min(max(ttl - LATEST, 0), LATEST)):
        oldest = np.where(oldest < MISSING + step, MISSING, oldest - step)
    return oldest


def _newest(packed: Int64Array, asked: Int64Array, before: Int64Array) -> Int64Array:
    """The last sorted row up to each packed value asked for; NO_ROW where that is not after `before`."""
    found = search(packed, asked, "right") - 1
    same_key = (found >= 0) & (packed[np.maximum(found, 0)] >= before)
    return np.where(same_key, found, NO_ROW)


def _order_by_key(code: Int64Array, keys: int, times: Instants) -> Int32Array | None:
    """The order by (key, time) of a source that is in order of time, as a log is; None for others."""
    values = times.values
    if len(values) == 0 or values[0] == MISSING or code.min() < 0 or not is_ascending(values):
        return None
    return stable_order_of_few(code, keys).astype(np.int32)


def _order(packed: Int64Array, created: Instants | None) -> Int32Array | None:
    """The stable order by (packed, created); None if the rows are already in it."""
    if created is None:
        if is_ascending(packed):
            return None
        return stable_order(packed - NO_ROW).astype(np.int32)
    tied = (packed[1:] == packed[:-1]) & (created.values[1:] >= created.values[:-1])
    if np.all(tied | (packed[1:] > packed[:-1])):
        return None
    first = np.argsort(created.values, kind="stable")
    return first[stable_order(packed[first] - NO_ROW)].astype(np.int32)
