"""Sources as the join needs them: opened and checked early, their columns read late, into Arrow."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from feast.data_format import DeltaFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feast_asof.errors import AsOfError
from feast_asof.lake_tables import ScannedRows, delta_options, is_iceberg, open_delta, open_iceberg
from feast_asof.parquet import conflict_error, find_parquet
from feast_asof.reading import OpenFile, in_one_chunk, read_table
from feast_asof.search import Int64Array
from feast_asof.times import Instants, read_instants

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParquetSource:
    """A batch source's rows, with the column names of Feast's field mapping.

    Attributes:
        what: how errors name it, e.g. `feature view stats`.
        original: mapped name -> name in the file.
        conflicts: column in the files -> what is wrong with it, if its types differ between files.
    """

    what: str
    path: str
    dataset: ds.Dataset | ScannedRows
    original: Mapping[str, str]
    conflicts: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, column: str) -> str:
        """The column's name in the file."""
        return self.original.get(column, column)

    def type_of(self, column: str) -> pa.DataType:
        """The column's Arrow type. Raises AsOfError if the parquet has no such column."""
        name = self.name_of(column)
        if name not in self.dataset.schema.names:
            has = ", ".join(self.dataset.schema.names)
            raise AsOfError(f"{self.what}: column '{name}' is not in {self.path}, which has {has}.")
        if name in self.conflicts:
            raise conflict_error(self.what, self.path, self.conflicts[name])
        return self.dataset.schema.field(name).type

    def seen_by(self, source: DataSource, *, what: str) -> "ParquetSource":
        """The same rows with the column names of another view's source."""
        return replace(self, what=what, original=_original_names(source, self.dataset))

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns, each in one chunk."""
        names = {column: self.name_of(column) for column in columns}
        for column in names:
            self.type_of(column)
        with self._errors_named():
            read = in_one_chunk(read_table(self.dataset, list(dict.fromkeys(names.values()))))
        return pa.table({column: read[name] for column, name in names.items()})

    def hold_open(self, names: Sequence[str]) -> OpenFile | None:
        """The one local file that has these columns, by their names in it; None for other sources."""
        with self._errors_named():
            return OpenFile.of(self.dataset, names)

    def read_open(self, file: OpenFile, names: Sequence[str]) -> pa.Table:
        """These columns, by their names in the file, each in one chunk."""
        with self._errors_named():
            return file.read(names)

    def read_rows(self, file: OpenFile, names: Sequence[str], rows: Int64Array) -> pa.Table:
        """These columns of some rows, by their names in the file, each in one chunk; rows in any order."""
        with self._errors_named():
            return file.read_rows(names, rows)

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise AsOfError(f"{self.what}: {self.path} cannot be read: {error}") from None

    def instants(self, table: pa.Table, column: str) -> Instants:
        """The event timestamps of `table`. Warns about rows without one: they match nothing."""
        times = self._read_instants(table, column)
        if without := int(np.count_nonzero(times.missing)):
            LOG.warning(
                "%s: left out %d of %d rows of %s whose '%s' is null.",
                self.what,
                without,
                len(times),
                self.path,
                column,
            )
        return times

    def created(self, table: pa.Table, column: str | None) -> Instants | None:
        """The created timestamps of `table`, if it has them. Null loses against any other."""
        return None if column is None else self._read_instants(table, column)

    def _read_instants(self, table: pa.Table, column: str) -> Instants:
        what = f"{self.what}, column '{column}' of {self.path}"
        return read_instants(table[column], what=what, nulls_allowed=True)


def open_source(config: RepoConfig, source: DataSource | None, *, what: str) -> ParquetSource:
    """Open a batch source. Raises AsOfError unless it is an existing parquet, Delta or Iceberg source."""
    if source is not None and is_iceberg(source):
        rows = open_iceberg(source, what=what)
        return ParquetSource(what, source.fqn, rows, _original_names(source, rows))
    if not isinstance(source, FileSource):
        kind = type(source).__name__
        raise AsOfError(
            f"{what}: its batch source is {kind}; "
            f"this store reads FileSource of parquet or Delta, and IcebergSource."
        )
    path = FileSource.get_uri_for_file_path(config.repo_path, source.file_options.uri)
    endpoint = source.file_options.s3_endpoint_override
    if isinstance(source.file_format, DeltaFormat):
        rows = open_delta(path, what=what, options=delta_options(endpoint))
        return ParquetSource(what, path, rows, _original_names(source, rows))
    found = find_parquet(path, what=what, endpoint=endpoint)
    return ParquetSource(what, path, found.dataset, _original_names(source, found.dataset), found.conflicts)


def _original_names(source: DataSource, dataset: ds.Dataset | ScannedRows) -> dict[str, str]:
    """Mapped column name -> name in the file."""
    return {new: old for old, new in source.field_mapping.items() if old in dataset.schema.names}
