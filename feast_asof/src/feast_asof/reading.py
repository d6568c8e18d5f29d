"""Reads columns into memory, in few chunks and with little memory besides the columns themselves."""

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from feast_asof.search import Int32Array

# Rows of a piece at most: a row group is decoded at once, and its columns seldom have to be put together.
PIECE_ROWS = 1 << 20
# Bytes read at a time from a column of a local file.
READ_BYTES = 1 << 17
# Columns are large, few, and written once. Arrow's own pool takes up to three times as long for new memory
# (measured with mimalloc 3.4), and gives it back late.
POOL = pa.system_memory_pool()
# Giving memory back takes some milliseconds, so it is done only once this many bytes were freed.
GIVEN_BACK_BYTES = 1 << 22


class Rows(Protocol):
    """Protocol: an Arrow dataset, or something with the same interface."""

    def to_table(self, columns: list[str] | None = None) -> pa.Table:
        """These columns, by default all."""
        ...


def read_table(dataset: ds.Dataset | Rows, columns: Sequence[str] | None = None) -> pa.Table:
    """These columns of a dataset, by default all."""
    names = None if columns is None else list(columns)
    if not isinstance(dataset, ds.FileSystemDataset) or not isinstance(dataset.format, ds.ParquetFileFormat):
        return dataset.to_table(columns=names)
    options: dict[str, Any] = {"batch_size": PIECE_ROWS, "memory_pool": POOL}
    if isinstance(dataset.filesystem, pa.fs.LocalFileSystem):
        # Reading ahead is for object stores: it keeps the whole file in memory beside its columns. Without a
        # buffered stream a column's compressed pages would all be there at once.
        options["fragment_scan_options"] = ds.ParquetFragmentScanOptions(
            pre_buffer=False, use_buffered_stream=True, buffer_size=READ_BYTES
        )
    return dataset.to_table(columns=names, **options)


def in_one_chunk(table: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
    """The table with these columns (by default all) in one chunk each; one column at a time exists twice."""
    for position, name in enumerate(table.column_names):
        column = table[position]
        if column.num_chunks != 1 and (names is None or name in names):
            table = table.set_column(position, name, column.combine_chunks(memory_pool=POOL))
    return table


def give_back(freed_bytes: int) -> None:
    """Return about `freed_bytes` of free memory to the system; without glibc, do nothing.

    glibc keeps what a thread has freed for that thread, and the next column is allocated elsewhere.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if freed_bytes >= GIVEN_BACK_BYTES else None
    if trim is not None:
        trim(0)


class Gathering:
    """Gathers rows of columns by position; a position of -1 gives null."""

    def __init__(self, positions: Int32Array) -> None:
        unknown = positions < 0
        self._unknown = unknown.nonzero()[0]
        nulls = None
        if len(self._unknown):
            nulls = pa.py_buffer(np.packbits(~unknown, bitorder="little"))
            positions = positions.clip(0)
        buffer, rows = pa.py_buffer(np.ascontiguousarray(positions)), len(positions)
        count = len(self._unknown)
        # Arrow gathers without nulls several times as fast; which rows are null is the same in every column.
        self._any_rows = pa.Array.from_buffers(pa.int32(), rows, [None, buffer], null_count=0)
        self._rows = pa.Array.from_buffers(pa.int32(), rows, [nulls, buffer], null_count=count)

    def of(self, column: pa.Array) -> pa.Array:
        """A column's values at the positions."""
        numbers = _numbers(column.type)
        if not len(self._unknown) or numbers is None or column.null_count or not len(column):
            return pc.take(column, self._rows, boundscheck=False, memory_pool=POOL)
        values = pc.take(column, self._any_rows, boundscheck=False, memory_pool=POOL).buffers()[1]
        # No value of another row is hidden below a null.
        np.frombuffer(values, numbers)[self._unknown] = 0
        nulls = self._rows.buffers()[0]
        return pa.Array.from_buffers(
            column.type, len(self._rows), [nulls, values], null_count=self._rows.null_count
        )


def _numbers(kind: pa.DataType) -> np.dtype[Any] | None:
    """How NumPy sees the values of an Arrow type; None where they are not numbers of whole bytes."""
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_temporal(kind)):
        return None
    return np.dtype(f"u{kind.bit_width // 8}") if kind.bit_width <= 64 else None
