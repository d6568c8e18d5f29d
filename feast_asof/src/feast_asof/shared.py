"""One source under all the views of a join that name it: read in one pass, each of its indexes made once."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feast_asof.index import AsOfIndex, build_index
from feast_asof.keys import comparable
from feast_asof.reading import OpenFile
from feast_asof.sources import ParquetSource, open_source
from feast_asof.times import one_chunk

# Attributes of a source that do not decide its rows: views of the same rows may differ in them.
OF_THE_VIEW = (
    "name",
    "owner",
    "description",
    "tags",
    "meta",
    "field_mapping",
    "timestamp_field",
    "created_timestamp_column",
    "date_partition_column",
)


@dataclass(frozen=True)
class IndexedBy:
    """The columns that an index is built from, by their names in the source."""

    keys: tuple[str, ...]
    timestamp: str
    created: str | None
    filter_by_created: bool

    @property
    def columns(self) -> list[str]:
        """All of them."""
        return [*self.keys, self.timestamp, *([self.created] if self.created else [])]


@dataclass(frozen=True)
class ReadSource:
    """A source in memory; `columns` are its features by their names in the source, each in one chunk."""

    indexes: Mapping[IndexedBy, AsOfIndex]
    columns: Mapping[str, pa.Array]


@dataclass(frozen=True)
class SourceColumns:
    """A source's features: those in memory, or all those of a file that is held open."""

    source: ParquetSource
    file: OpenFile | None
    known: Mapping[str, pa.Array]

    @property
    def rows(self) -> int:
        """The number of rows of each, if they are still to be read; else 0."""
        return 0 if self.file is None else int(self.file.metadata.num_rows)

    @property
    def nbytes(self) -> int:
        """The size of those in memory."""
        return sum(column.nbytes for column in self.known.values())

    def read(self, names: Sequence[str]) -> dict[str, pa.Array]:
        """These, each in one chunk. Raises AsOfError if they cannot be read."""
        if self.file is None:
            return {name: self.known[name] for name in names}
        table = self.source.read_open(self.file, names)
        return {name: one_chunk(table[name]) for name in names}


class SharedSource:
    """The source of one or several views, read when a value of any of them is first asked for.

    All columns are read in one pass, or from one file that is held open: between two passes, a file could be
    replaced, and rows would not match.
    """

    def __init__(self, source: ParquetSource) -> None:
        self.opened = source
        # Which view errors and warnings about an index name: the first that needs it.
        self._indexes: dict[IndexedBy, str] = {}
        self._features: dict[str, None] = {}

    def need(self, indexed_by: IndexedBy, features: Sequence[str], *, what: str) -> None:
        """Declare what a view will ask for, before anything is read."""
        self._indexes.setdefault(indexed_by, what)
        self._features.update(dict.fromkeys(features))

    @cached_property
    def read(self) -> ReadSource:
        """Every index and feature that a view needs. Raises AsOfError if the source cannot be read."""
        table = replace(self.opened, original={}).read(self._columns())
        return ReadSource(self._indexed(table), {name: one_chunk(table[name]) for name in self._features})

    def scan(self) -> tuple[Mapping[IndexedBy, AsOfIndex], "SourceColumns"]:
        """Every index, and the features to be read in pieces: of one local file, they are not read yet.

        Raises AsOfError if the source cannot be read.
        """
        source = replace(self.opened, original={})
        indexed = list(dict.fromkeys(name for by in self._indexes for name in by.columns))
        file = source.hold_open([*indexed, *self._features])
        if file is None:
            read = self.read
            self.forget()
            return read.indexes, SourceColumns(source, None, read.columns)
        return self._indexed(source.read_open(file, indexed)), SourceColumns(source, file, {})

    def _indexed(self, table: pa.Table) -> dict[IndexedBy, AsOfIndex]:
        source = replace(self.opened, original={})
        return {by: _indexed(replace(source, what=what), table, by) for by, what in self._indexes.items()}

    @property
    def values(self) -> float:
        """Number of values to be held in memory; infinite if that is known only after reading."""
        dataset = self.opened.dataset
        if not isinstance(dataset, ds.Dataset):
            return math.inf
        try:
            return float(dataset.count_rows() * len(self._columns()))
        except (pa.ArrowInvalid, OSError):
            # Whatever reads it later reports what is wrong with it.
            return math.inf

    @property
    def is_read(self) -> bool:
        """Whether its rows are in memory."""
        return "read" in self.__dict__

    def forget(self) -> None:
        """Release what has been read; the next request reads again."""
        self.__dict__.pop("read", None)

    def _columns(self) -> list[str]:
        indexed = [name for by in self._indexes for name in by.columns]
        return list(dict.fromkeys([*self._features, *indexed]))

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads for itself; what this one has read may be large.
        return {name: value for name, value in self.__dict__.items() if name != "read"}


class SharedSources:
    """The sources of one join; views with the same source rows share one."""

    def __init__(self, config: RepoConfig) -> None:
        self._config = config
        self._opened: dict[object, SharedSource] = {}

    def open(self, source: DataSource | None, *, what: str) -> tuple[ParquetSource, SharedSource]:
        """A view's source with its own column names, and the part that it shares with other views.

        Raises:
            AsOfError: the source cannot be opened.
        """
        if source is None:
            opened = open_source(self._config, source, what=what)
            return opened, SharedSource(opened)
        rows = self._rows_of(source)
        if rows not in self._opened:
            self._opened[rows] = SharedSource(open_source(self._config, source, what=what))
        shared = self._opened[rows]
        return shared.opened.seen_by(source, what=what), shared

    def _rows_of(self, source: DataSource) -> tuple[type, bytes]:
        """What distinguishes the rows of one source from those of another."""
        definition = source.to_proto()
        for name in OF_THE_VIEW:
            definition.ClearField(name)
        if isinstance(source, FileSource):
            uri = FileSource.get_uri_for_file_path(self._config.repo_path, source.file_options.uri)
            definition.file_options.uri = uri if "://" in uri else os.path.realpath(uri)
        return type(source), definition.SerializeToString(deterministic=True)


def _indexed(source: ParquetSource, table: pa.Table, by: IndexedBy) -> AsOfIndex:
    return build_index(
        [comparable(one_chunk(table[key])) for key in by.keys],
        source.instants(table, by.timestamp),
        source.created(table, by.created),
        filter_by_created=by.filter_by_created,
    )
