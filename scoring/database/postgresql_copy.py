"""Arrow tables into PostgreSQL and back by its binary COPY, laid out and taken apart by NumPy.

A row is the number of its fields, then each field's length and bytes, all big-endian; null is the length -1
alone. Here all rows' values of one column are written, or read, at once at their positions in the bytes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

# Signature, flags and length of the extension; and the trailer.
HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
_BINARY = {pa.int32(): ">i4", pa.int64(): ">i8", pa.float64(): ">f8"}
_NULL = -1


def encoded(rows: pa.Table) -> bytes:
    """The rows as the content of `COPY ... FROM STDIN (FORMAT BINARY)`.

    Args:
        rows: columns of int32, int64, float64 or text, with the widths of the table's.
    """
    columns = [_flat(column) for column in rows.columns]
    lengths = [_lengths(column) for column in columns]
    sizes = np.full(rows.num_rows, 2)
    for of_column in lengths:
        sizes += 4 + np.maximum(of_column, 0)
    at = len(HEADER) + np.cumsum(sizes) - sizes
    content = np.empty(len(HEADER) + int(sizes.sum()) + len(TRAILER), dtype=np.uint8)
    content[: len(HEADER)] = np.frombuffer(HEADER, np.uint8)
    content[-len(TRAILER) :] = np.frombuffer(TRAILER, np.uint8)
    _values(content, ">i2")[at] = len(columns)
    at += 2
    for column, of_column in zip(columns, lengths, strict=True):
        _values(content, ">i4")[at] = of_column
        at += 4
        there = of_column != _NULL
        if column.type in _BINARY:
            _values(content, _BINARY[column.type])[at[there]] = column.drop_null().to_numpy()
        else:
            data, starts = _text(column)
            content[_spread(at[there], of_column[there])] = data[_spread(starts[there], of_column[there])]
        at += np.maximum(of_column, 0)
    return content.tobytes()


def decoded(rows: Sequence[bytes], schema: pa.Schema) -> pa.Table:
    """Rows of a `COPY ... TO STDOUT (FORMAT BINARY)`, each as it came, without header and trailer."""
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    # Padding, so that the last value can be read with a wider type.
    content = np.frombuffer(b"".join(rows) + bytes(8), dtype=np.uint8)
    at = np.cumsum(sizes) - sizes + 2
    arrays = []
    for field in schema:
        lengths = _values(content, ">i4")[at].astype(np.int64)
        at += 4
        null = lengths == _NULL
        lengths[null] = 0
        if field.type in _BINARY:
            # The bytes at a null's position belong to the next field, and are masked.
            values = _values(content, _BINARY[field.type])[at]
            values = values.astype(values.dtype.newbyteorder("="))
            arrays.append(pa.array(values, mask=null if null.any() else None))
        else:
            arrays.append(_text_array(content[_spread(at, lengths)], lengths, null))
        at += lengths
    return pa.Table.from_arrays(arrays, schema=schema)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    is_text = column.type not in _BINARY
    flat = (column.cast(pa.large_string()) if is_text else column).combine_chunks()
    return flat if isinstance(flat, pa.Array) else pa.concat_arrays(flat.chunks)


def _lengths(column: pa.Array) -> np.ndarray:
    """Bytes of each value, or _NULL: int64."""
    if column.type in _BINARY:
        lengths = np.full(len(column), np.dtype(_BINARY[column.type]).itemsize, dtype=np.int64)
    else:
        lengths = np.diff(_offsets(column))
    if column.null_count:
        lengths[column.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return lengths


def _offsets(column: pa.Array) -> np.ndarray:
    offsets = np.frombuffer(column.buffers()[1], np.int64)
    return offsets[column.offset : column.offset + len(column) + 1]


def _text(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of all texts, and where each begins."""
    return np.frombuffer(column.buffers()[2] or b"", np.uint8), _offsets(column)[:-1]


def _text_array(data: np.ndarray, lengths: np.ndarray, null: np.ndarray) -> pa.Array:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
    return pa.Array.from_buffers(
        pa.large_string(), len(lengths), [valid, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _values(content: np.ndarray, kind: str) -> "np.ndarray[Any, Any]":
    """A value of this type at every byte of the content; they overlap."""
    last = len(content) - np.dtype(kind).itemsize
    return np.ndarray((last + 1,), kind, content, strides=(1,))


def _spread(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The positions of all bytes of pieces, one piece after the other: int64."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)
