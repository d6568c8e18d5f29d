"""Columns of instants in any notation, as integers that can be compared."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_asof.errors import AsOfError
from feast_asof.memory import POOL
from feast_asof.search import Int64Array

Unit = Literal["us", "ns"]
NANOSECONDS = 1000
LATEST = int(np.iinfo(np.int64).max)
# NumPy's own "not a time"; it sorts before every instant.
MISSING = int(np.iinfo(np.int64).min)

# An offset comes after the hours, so the dashes of a date are not taken for one.
HAS_OFFSET = r"^\s*[^T\s]+[T ].*[Z+-]"
# Words that pandas would replace by the present time.
CLOCK_WORD = r"(?i)^\s*(now|today)\s*$"


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as a single array."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks(memory_pool=POOL)
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_text(column: pa.Array, *, what: str) -> pa.Array:
    """ISO 8601 text as timestamps in UTC; text without an offset counts as UTC.

    Raises:
        AsOfError: a text is not a time.
    """
    texts = column.cast(pa.large_string())
    if pc.any(pc.match_substring_regex(texts, CLOCK_WORD)).as_py():
        raise AsOfError(f"{what}: not timestamps: 'now' and 'today' are not times.")
    aware = pc.match_substring_regex(texts, HAS_OFFSET)
    # One call for both kinds would read a text without an offset in the offset of the text before it.
    parsed = [
        _parse(pc.if_else(kind, texts, None), what=what)
        for kind in (aware, pc.invert(aware))
        if pc.any(kind).as_py()
    ]
    if not parsed:
        return pa.nulls(len(texts), pa.timestamp("us", tz="UTC"))
    return pc.coalesce(*parsed)


def _parse(texts: pa.Array, *, what: str) -> pa.Array:
    try:
        return pa.array(pd.to_datetime(texts.to_pandas(), utc=True, format="ISO8601"))
    except (ValueError, TypeError) as error:
        raise AsOfError(f"{what}: not timestamps: {error}") from None


@dataclass(frozen=True)
class Instants:
    """Instants since 1970 UTC.

    Attributes:
        values: int64 [rows], MISSING if there is none.
        unit: what they count, e.g. microseconds.
    """

    values: Int64Array
    unit: Unit

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Instants":
        return Instants(self.values[rows], self.unit)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no instant: bool [rows]."""
        missing: NDArray[np.bool_] = self.values == MISSING
        return missing

    def floor(self, unit: Unit) -> Int64Array:
        """In whole units, rounded down; MISSING or LATEST outside the unit's range."""
        scaled = self._scaled(unit, self.values)
        return np.where(scaled == -LATEST, MISSING, scaled) if unit != self.unit else scaled

    def ceil(self, unit: Unit) -> Int64Array:
        """In whole units, rounded up."""
        return self._scaled(unit, -self.values) * -1

    def between(self, start: datetime | None, end: datetime | None) -> NDArray[np.bool_]:
        """Which rows are between two instants, both included; None for an open end."""
        within: NDArray[np.bool_] = np.logical_not(self.missing)
        if start is not None:
            within &= self.values >= self._bound(start)
        if end is not None:
            within &= self.values <= self._bound(end)
        return within

    def to_arrow(self, unit: Unit) -> pa.Array:
        """As an Arrow timestamp in UTC. Raises ArrowInvalid if an instant is outside the unit's range."""
        column = pa.array(self.values, mask=self.missing).cast(pa.timestamp(self.unit, tz="UTC"))
        return column.cast(pa.timestamp(unit, tz="UTC"))

    def _scaled(self, unit: Unit, values: Int64Array) -> Int64Array:
        if unit == self.unit:
            return values
        if unit == "us":
            return values // NANOSECONDS
        furthest = LATEST // NANOSECONDS
        scaled = np.clip(values, -furthest, furthest) * NANOSECONDS
        scaled[values > furthest] = LATEST
        scaled[values < -furthest] = -LATEST
        return scaled

    def _bound(self, instant: datetime) -> int:
        bound = microsecond(instant) * (NANOSECONDS if self.unit == "ns" else 1)
        return min(max(bound, -LATEST), LATEST)


def microsecond(instant: datetime) -> int:
    """Microseconds since 1970 UTC; a time without a zone counts as UTC."""
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_instants(column: pa.ChunkedArray | pa.Array, *, what: str, nulls_allowed: bool = False) -> Instants:
    """A column's instants; a time without a zone counts as UTC, as in Feast.

    Args:
        what: how errors name the column.

    Returns:
        In microseconds or, if an instant is not a whole microsecond, in nanoseconds.

    Raises:
        AsOfError: the column is not timestamps, dates or ISO 8601 text, or has nulls that are not allowed.
    """
    array = one_chunk(column)
    if is_text(array.type):
        array = read_text(array, what=what)
    if pa.types.is_null(array.type) and (nulls_allowed or len(array) == 0):
        array = array.cast(pa.timestamp("us"))
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(array.type):
        raise AsOfError(f"{what}: has type {array.type}, not a timestamp.")
    if array.null_count and not nulls_allowed:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise AsOfError(f"{what}: {array.null_count} timestamps are null, the first in row {row}.")
    unit: Unit = "ns" if array.type.unit == "ns" else "us"
    try:
        numbers = array.cast(pa.timestamp(unit, tz=array.type.tz)).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise AsOfError(f"{what}: {error}") from None
    # Arrow copies what it fills, whether anything is null or not.
    whole = pc.fill_null(numbers, 0) if numbers.null_count else numbers
    values: Int64Array = np.asarray(whole.to_numpy(zero_copy_only=False))
    if unit == "ns" and not np.any(values % NANOSECONDS):
        values, unit = values // NANOSECONDS, "us"
    if numbers.null_count:
        values = np.where(numbers.is_null().to_numpy(zero_copy_only=False), np.int64(MISSING), values)
    return Instants(values, unit)
