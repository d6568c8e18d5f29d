"""Reads columns into memory, in few chunks and with little memory besides the columns themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq

from feast_asof.memory import POOL
from feast_asof.search import Int64Array

# Rows of a piece at most: a row group is decoded at once, and its columns seldom have to be put together.
PIECE_ROWS = 1 << 20
# Bytes read at a time from a column of a local file.
READ_BYTES = 1 << 17


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


@dataclass(frozen=True)
class OpenFile:
    """A local parquet file that is held open: its rows stay the same, even if another file takes its path."""

    file: pa.NativeFile
    metadata: pq.FileMetaData

    @classmethod
    def of(cls, dataset: ds.Dataset | Rows, columns: Sequence[str]) -> "OpenFile | None":
        """The file with these columns of a dataset; None unless they are in one local file, as they are."""
        if not isinstance(dataset, ds.FileSystemDataset) or not isinstance(
            dataset.filesystem, pa.fs.LocalFileSystem
        ):
            return None
        if not isinstance(dataset.format, ds.ParquetFileFormat) or len(dataset.files) != 1:
            return None
        file = pa.OSFile(dataset.files[0])
        with pq.ParquetFile(file) as parquet:
            own, metadata = parquet.schema_arrow, parquet.metadata
        same = all(
            own.get_all_field_indices(name) and own.field(name).equals(dataset.schema.field(name))
            for name in columns
        )
        return cls(file, metadata) if same else None

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns, each in one chunk. Threads may read at the same time."""
        return in_one_chunk(self._opened().read(list(columns), use_threads=False))

    def read_rows(self, columns: Sequence[str], rows: Int64Array) -> pa.Table:
        """These columns of some rows, in the order asked for; row groups without one of them are not read."""
        parquet, order = self._opened(), np.argsort(rows, kind="stable")
        ascending = rows[order]
        found, start = [parquet.schema_arrow.empty_table().select(list(columns))], 0
        for group in range(self.metadata.num_row_groups):
            stop = start + self.metadata.row_group(group).num_rows
            first, last = np.searchsorted(ascending, [start, stop])
            if first < last:
                of_group = parquet.read_row_group(group, columns=list(columns), use_threads=False)
                found.append(of_group.select(list(columns)).take(pa.array(ascending[first:last] - start)))
            start = stop
        asked = np.empty_like(order)
        asked[order] = np.arange(len(order))
        return in_one_chunk(pa.concat_tables(found).take(pa.array(asked)))

    def _opened(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.file, metadata=self.metadata, buffer_size=READ_BYTES, pre_buffer=False)
