"""Columns of instants, whatever they are written as, as whole numbers that compare."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_asof.errors import AsOfError

# An offset stands behind the hours, so that the dashes of a date are none.
HAS_OFFSET = r"^\s*[^T\s]+[T ].*[Z+-]"
# What pandas would replace by the clock of this moment.
CLOCK_WORD = r"(?i)^\s*(now|today)\s*$"


def one_chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as a single array."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_text(column: pa.Array, *, what: str) -> pa.Array:
    """ISO 8601 text as timestamps in UTC; each text is read by itself, and one without an offset is UTC.

    Raises AsOfError for text that is no time.
    """
    texts = column.cast(pa.large_string())
    if pc.any(pc.match_substring_regex(texts, CLOCK_WORD)).as_py():
        raise AsOfError(f"{what}: not timestamps: 'now' and 'today' are no times.")
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


def microseconds(
    column: pa.ChunkedArray | pa.Array, *, what: str, nulls: int | None = None, round_up: bool = False
) -> NDArray[np.int64]:
    """Timestamps as microseconds since 1970 UTC, int64; a time without zone counts as UTC, as Feast has it.

    nulls: the value for missing times, or None to refuse them. round_up: which way nanoseconds go.
    Raises AsOfError for anything but timestamps, dates, and text that pandas reads as timestamps.
    """
    array = one_chunk(column)
    if is_text(array.type):
        array = read_text(array, what=what)
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(array.type):
        raise AsOfError(f"{what}: has type {array.type}, not a timestamp.")
    if array.null_count and nulls is None:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise AsOfError(f"{what}: {array.null_count} timestamps are null, the first in row {row}.")
    unit = array.type.unit
    whole = array if unit == "ns" else array.cast(pa.timestamp("us", tz=array.type.tz))
    numbers = whole.cast(pa.int64())
    values: NDArray[np.int64] = np.asarray(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False))
    if unit == "ns":
        values = -(-values // 1000) if round_up else values // 1000
    if nulls is not None and numbers.null_count:
        values = np.where(numbers.is_null().to_numpy(zero_copy_only=False), np.int64(nulls), values)
    return values
