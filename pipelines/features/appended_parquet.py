"""Parquet files that begin with rows of another file, which are copied as bytes, without decoding them.

Such a file is a chain. Up to certain row groups it is a complete Parquet file, footer included; more row
groups follow, and a footer of all of them. Readers use the last footer and skip the others, as a footer says
where each row group is. So a file with the same first rows copies bytes, and encodes only what it adds.
"""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_BYTES_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class Beginning:
    """The first row groups of a file, which together are a complete Parquet file.

    Attributes:
        metadata: of these row groups alone.
    """

    path: Path
    size_bytes: int
    metadata: pq.FileMetaData

    @classmethod
    def of(cls, path: Path, groups: int) -> Self | None:
        """The longest one of at most so many row groups; None if there is none."""
        whole = pq.read_metadata(path)
        if groups == whole.num_row_groups:
            return cls(path, path.stat().st_size, whole)
        with pa.memory_map(str(path)) as file:
            content = file.read_buffer()
            for number in range(groups, 0, -1):
                size_bytes = _start(whole.row_group(number))
                footer = _footer_before(content, size_bytes)
                if footer is not None and _has_first(whole, footer, number):
                    return cls(path, size_bytes, footer)
        return None


class AppendingWriter:
    """Writes row groups after a beginning; what has been written when `complete` is called is another one."""

    def __init__(self, path: Path, schema: pa.Schema, beginning: Beginning | None) -> None:
        """Open a new file, which starts with a copy of the beginning.

        Args:
            schema: of the rows, those of the beginning included.
        """
        self._schema, self._footer = schema, None if beginning is None else beginning.metadata
        self._sink = _Sink()
        self._writer: pq.ParquetWriter | None = None
        self._file = path.open("wb")
        if beginning is None:
            self._file.write(_MAGIC)
        else:
            _copy(beginning, self._file)

    def write(self, group: pa.Table) -> None:
        """Add rows, at least one, as a row group."""
        writer = self._open()
        writer.write_table(group, row_group_size=group.num_rows)

    def complete(self) -> None:
        """Make a complete Parquet file of all row groups so far; more may follow."""
        if self._writer is None and self._footer is not None:
            return
        added = self._close(self._open())
        if self._footer is None:
            self._footer = added
        else:
            self._footer.append_row_groups(added)
        whole = pa.BufferOutputStream()
        self._footer.write_metadata_file(whole)
        self._file.write(whole.getvalue()[len(_MAGIC) :])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._close(self._writer)
        self._file.close()

    def _open(self) -> pq.ParquetWriter:
        """Arrow's writer of the row groups from here on."""
        if self._writer is None:
            stream = pa.PythonFile(self._sink, mode="w")
            self._writer = pq.ParquetWriter(stream, self._schema, compression="lz4", use_dictionary=False)
            # Arrow counts what it was given to write, so it is given as much as the file has.
            nothing = pa.py_buffer(bytes(_BYTES_AT_A_TIME))
            while rest := self._file.tell() - stream.tell():
                stream.write(nothing[:rest])
            self._sink.file = self._file
        return self._writer

    def _close(self, writer: pq.ParquetWriter) -> pq.FileMetaData:
        """Close Arrow's writer, without its footer, which has the last row groups alone; returns that."""
        self._sink.file, self._writer = None, None
        writer.close()
        return writer.writer.metadata


class _Sink:
    """A file for Arrow, which ignores bytes while it has none."""

    closed = False
    file: BinaryIO | None = None

    def write(self, content: bytes) -> int:
        if self.file is not None:
            self.file.write(content)
        return len(content)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def _start(group: pq.RowGroupMetaData) -> int:
    """The position of the first byte of a row group."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    pages = [(chunk.dictionary_page_offset, chunk.data_page_offset) for chunk in chunks]
    first: int = min(offset for of_chunk in pages for offset in of_chunk if offset is not None)
    return first


def _footer_before(content: pa.Buffer, end: int) -> pq.FileMetaData | None:
    """The footer of a complete file that ends at a position; None if there is none."""
    if content[end - len(_MAGIC) : end].to_pybytes() != _MAGIC:
        return None
    try:
        return pq.read_metadata(pa.BufferReader(content[:end]))
    except (pa.ArrowException, OSError):
        return None


def _has_first(whole: pq.FileMetaData, footer: pq.FileMetaData, groups: int) -> bool:
    """Whether a footer is that of the first row groups of a file."""
    return footer.num_row_groups == groups and all(
        footer.row_group(number).equals(whole.row_group(number)) for number in range(groups)
    )


def _copy(beginning: Beginning, target: BinaryIO) -> None:
    left = beginning.size_bytes
    with beginning.path.open("rb") as source:
        while part := source.read(min(left, _BYTES_AT_A_TIME)):
            target.write(part)
            left -= len(part)
