"""Parquet sources as the join needs them: opened and checked early, their columns read late, into Arrow."""

import glob
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from feast_asof.errors import AsOfError, SourceMissingError
from feast_asof.times import Instants, one_chunk, read_instants

LOG = logging.getLogger(__name__)
# How names begin that writers of folders keep for themselves. Feast's logs lie in `__log_date=...`: data.
NOT_DATA = (
    ".",
    "_SUCCESS",
    "_metadata",
    "_common_metadata",
    "_temporary",
    "_delta_log",
    "_committed_",
    "_started_",
)


@dataclass(frozen=True)
class ParquetSource:
    """A batch source's parquet, under the column names that Feast's field mapping gives.

    what: how errors name it, e.g. `feature view stats`. original: mapped name -> name in the file.
    """

    what: str
    path: str
    dataset: ds.Dataset
    original: Mapping[str, str]

    def name_of(self, column: str) -> str:
        """The column's name in the file."""
        return self.original.get(column, column)

    def type_of(self, column: str) -> pa.DataType:
        """The column's Arrow type. Raises AsOfError where the parquet has no such column."""
        name = self.name_of(column)
        if name not in self.dataset.schema.names:
            has = ", ".join(self.dataset.schema.names)
            raise AsOfError(f"{self.what}: column '{name}' is not in {self.path}, which has {has}.")
        return self.dataset.schema.field(name).type

    def seen_by(self, source: DataSource, *, what: str) -> "ParquetSource":
        """The same rows under the column names of another view's source."""
        return replace(self, what=what, original=_original_names(source, self.dataset))

    def read(self, columns: Sequence[str]) -> pa.Table:
        """These columns, each in one chunk."""
        names = {column: self.name_of(column) for column in columns}
        for column in names:
            self.type_of(column)
        try:
            read = self.dataset.to_table(columns=list(dict.fromkeys(names.values())))
            # One at a time, so that of one column only there are two copies.
            for position, name in enumerate(read.column_names):
                read = read.set_column(position, name, one_chunk(read[position]))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise AsOfError(f"{self.what}: {self.path} cannot be read: {error}") from None
        return pa.table({column: read[name] for column, name in names.items()})

    def instants(self, table: pa.Table, column: str) -> Instants:
        """The event timestamps of `table`. Rows without one are counted in a warning: they have no answer."""
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
    """Open a batch source. Raises AsOfError for anything but a FileSource of parquet that is there."""
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        kind = type(source).__name__ if not isinstance(source, FileSource) else source.file_format
        raise AsOfError(f"{what}: its batch source is {kind}; this store reads FileSource parquet.")
    path = FileSource.get_uri_for_file_path(config.repo_path, source.file_options.uri)
    dataset = open_parquet(path, what=what, endpoint=source.file_options.s3_endpoint_override)
    return ParquetSource(what=what, path=path, dataset=dataset, original=_original_names(source, dataset))


def _original_names(source: DataSource, dataset: ds.Dataset) -> dict[str, str]:
    """Mapped column name -> name in the file."""
    return {new: old for old, new in source.field_mapping.items() if old in dataset.schema.names}


def open_parquet(path: str, *, what: str, endpoint: str | None = None) -> ds.Dataset:
    """A parquet file, folder or glob as a dataset. Raises AsOfError, saying `what` wanted it."""
    filesystem, plain = FileSource.create_filesystem_and_path(path, endpoint or "")
    files: str | list[str] = plain
    if filesystem is None and glob.has_magic(plain) and not Path(plain).exists():
        files = sorted(glob.glob(plain, recursive=True))
        if not files:
            raise SourceMissingError(f"{what}: no parquet file matches {plain}.")
    try:
        # `key=value` folders below a folder are columns; those above it mean nothing.
        dataset = ds.dataset(
            files,
            format="parquet",
            filesystem=filesystem,
            partitioning="hive" if isinstance(files, str) and _is_folder(files, filesystem) else None,
            ignore_prefixes=list(NOT_DATA),
        )
    except FileNotFoundError:
        raise SourceMissingError(f"{what}: there is no parquet file or folder at {plain}.") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise AsOfError(f"{what}: {plain} cannot be read as parquet: {error}") from None
    if not dataset.schema.names:
        raise SourceMissingError(f"{what}: {plain} holds no parquet file with columns.")
    return dataset


def _is_folder(path: str, filesystem: pa.fs.FileSystem | None) -> bool:
    if filesystem is None:
        return Path(path).is_dir()
    return bool(filesystem.get_file_info(path).type == pa.fs.FileType.Directory)
