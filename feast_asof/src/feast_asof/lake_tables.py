"""Delta and Iceberg tables as sources: their current rows, read by their own libraries, which are extras.

A table's folder keeps files of rows that were deleted or replaced since. It is never read as plain parquet.
"""

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
from feast.data_source import DataSource

from feast_asof.errors import AsOfError, SourceMissingError

# The folder of a table's metadata, beside its data, and how to declare the table so that it is read as one.
TABLES = {
    "_delta_log": "a Delta table: declare its source with file_format=DeltaFormat()",
    ".hoodie": "a Hudi table, which this store does not read: write its rows to plain parquet",
}
# Attempts of a commit, besides the libraries' own retries within each.
COMMITS = 20
LONGEST_PAUSE_S = 1.0
ICEBERG = "an Iceberg table: declare it as an IcebergSource"


class ScannedRows:
    """Rows that a table format's own library reads, with the interface of an Arrow dataset."""

    def __init__(self, schema: pa.Schema, scan: Callable[[list[str] | None], pa.Table]) -> None:
        self.schema = schema
        self._scan = scan

    def to_table(self, columns: list[str] | None = None) -> pa.Table:
        """These columns, by default all. Raises OSError if the library cannot read them."""
        names = self.schema.names if columns is None else columns
        try:
            table = self._scan(names)
        except Exception as error:  # each library has errors of its own
            raise OSError(str(error)) from error
        return table.select(names).cast(pa.schema([self.schema.field(name) for name in names]))


def refuse_files_of_tables(files: Iterable[str], filesystem: pa.fs.FileSystem | None, *, what: str) -> None:
    """Raise AsOfError if one of the files belongs to a Delta, Iceberg or Hudi table."""
    arrow = filesystem or pa.fs.LocalFileSystem()
    for folder in sorted({_without_partitions(PurePosixPath(file).parent) for file in files}):
        try:
            table = _table_at(arrow, folder)
        except OSError:
            # Credentials that may read an object but not list its folder are for just that object.
            continue
        if table is not None:
            raise AsOfError(f"{what}: {table}.")


def _table_at(arrow: pa.fs.FileSystem, folder: PurePosixPath) -> str | None:
    """Which table has its data in this folder, and how to declare it; None where there is none."""
    for mark, kind in TABLES.items():
        if arrow.get_file_info(f"{folder}/{mark}").type == pa.fs.FileType.Directory:
            return f"{folder} is {kind}"
    for table in [folder, *([folder.parent] if folder.name == "data" else [])]:
        notes = pa.fs.FileSelector(f"{table}/metadata", allow_not_found=True)
        if any(note.path.endswith(".metadata.json") for note in arrow.get_file_info(notes)):
            return f"{table} is {ICEBERG}"
    return None


def _without_partitions(folder: PurePosixPath) -> PurePosixPath:
    while "=" in folder.name:
        folder = folder.parent
    return folder


def open_delta(path: str, *, what: str, options: dict[str, str]) -> ds.Dataset | ScannedRows:
    """The current version of a Delta table; `options` are deltalake's storage options.

    Raises:
        AsOfError: deltalake is missing or too old for the table, or there is no table.
    """
    deltalake = _library("deltalake", what=what)
    exceptions = import_module("deltalake.exceptions")
    try:
        table = deltalake.DeltaTable(path, storage_options=options or None)
    except exceptions.TableNotFoundError:
        raise SourceMissingError(f"{what}: there is no Delta table at {path}.") from None
    except (exceptions.DeltaError, OSError, ValueError) as error:
        raise AsOfError(f"{what}: {path} cannot be read as a Delta table: {error}") from None
    try:
        return table.to_pyarrow_dataset()
    except exceptions.DeltaProtocolError as error:
        # Rows marked as deleted, or columns renamed: no plain parquet any more.
        if not hasattr(table, "scan"):
            raise AsOfError(f"{what}: {path}: {error} Upgrade deltalake.") from None
    schema = pa.schema(table.schema().to_arrow())
    return ScannedRows(schema, partial(_scan_delta, path, table.version(), options))


def append_to_delta(path: str, rows: pa.Table, *, what: str, options: dict[str, str]) -> None:
    """Commit rows to a Delta table, retrying if another writer was first. Raises AsOfError on failure."""
    deltalake = _library("deltalake", what=what)
    exceptions = import_module("deltalake.exceptions")

    def commit() -> None:
        deltalake.write_deltalake(path, rows, mode="append", storage_options=options or None)

    try:
        _commit(commit, exceptions.CommitFailedError)
    except (exceptions.DeltaError, OSError, ValueError) as error:
        raise AsOfError(f"{what}: rows cannot be added to {path}: {error}") from None


def write_delta(
    path: str, batches: Iterator[pa.RecordBatch], *, what: str, options: dict[str, str], overwrite: bool
) -> None:
    """Create a Delta table with these rows; `overwrite` replaces an existing one with its columns."""
    deltalake = _library("deltalake", what=what)
    first = next(batches)
    rows = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
    how = {"mode": "overwrite", "schema_mode": "overwrite"} if overwrite else {"mode": "error"}
    try:
        deltalake.write_deltalake(path, rows, storage_options=options or None, **how)
    except (import_module("deltalake.exceptions").DeltaError, OSError, ValueError) as error:
        raise AsOfError(f"{what}: cannot be written to {path}: {error}") from None


def _scan_delta(path: str, version: int, options: dict[str, str], columns: list[str]) -> pa.Table:
    deltalake = import_module("deltalake")
    table = deltalake.DeltaTable(path, version=version, storage_options=options or None)
    return pa.table(table.scan(columns=columns))


def delta_options(endpoint: str | None) -> dict[str, str]:
    """Deltalake's storage options for an S3 endpoint; it takes all others from the environment."""
    options = {}
    if endpoint:
        options["AWS_ENDPOINT_URL"] = endpoint
        if endpoint.startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
    return options


def is_iceberg(source: DataSource) -> bool:
    """Whether it is Feast's IcebergSource or its subclass UnityCatalogSource."""
    return any(kind.__name__ == "IcebergSource" for kind in type(source).__mro__)


def open_iceberg(source: DataSource, *, what: str) -> ScannedRows:
    """The current version of an Iceberg table. Raises AsOfError without pyiceberg or without a table."""
    _library("pyiceberg", what=what)
    exceptions = import_module("pyiceberg.exceptions")
    try:
        table = _iceberg_table(source)
    except exceptions.NoSuchTableError:
        raise SourceMissingError(f"{what}: there is no Iceberg table {source.fqn}.") from None
    except Exception as error:  # of the catalog's own library: SQLAlchemy's, requests', boto3's
        raise AsOfError(f"{what}: Iceberg table {source.fqn} cannot be opened: {error}") from None
    snapshot = table.current_snapshot()
    scan = partial(_scan_iceberg, source, snapshot.snapshot_id if snapshot else None)
    return ScannedRows(table.schema().as_arrow(), scan)


def append_to_iceberg(source: DataSource, rows: pa.Table, *, what: str) -> None:
    """Commit rows to an Iceberg table, retrying if another writer was first. Raises AsOfError on failure."""
    overtaken = import_module("pyiceberg.exceptions").CommitFailedException
    try:
        _commit(lambda: _iceberg_table(source).append(rows), overtaken)
    except Exception as error:  # as in open_iceberg
        raise AsOfError(f"{what}: rows cannot be added to {source.fqn}: {error}") from None


def _commit(commit: Callable[[], None], overtaken: type[Exception]) -> None:
    """Call `commit` until no other writer is faster, at most COMMITS times; the last error is raised."""
    for _ in range(COMMITS - 1):
        try:
            commit()
            return
        except overtaken:
            time.sleep(random.uniform(0, LONGEST_PAUSE_S))
    commit()


def _iceberg_table(source: DataSource) -> Any:
    """Loaded through the source's catalog, as Feast's own stores do."""
    name = f"{source.namespace}.{source.iceberg_table}"
    if source.catalog_type != "rest":
        return source.get_catalog_client().load_table(name)
    properties = {"type": "rest", "uri": source.endpoint, "warehouse": source.warehouse}
    token = os.environ.get(source.token_env_var) if source.token_env_var else None
    if token:
        properties["token"] = token
    load_catalog = import_module("pyiceberg.catalog").load_catalog
    return load_catalog(source.catalog_name, **properties).load_table(name)


def _scan_iceberg(source: DataSource, snapshot: int | None, columns: Sequence[str]) -> pa.Table:
    table = _iceberg_table(source)
    return table.scan(selected_fields=tuple(columns), snapshot_id=snapshot).to_arrow()


def _library(module: str, *, what: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError:
        raise AsOfError(f"{what}: needs {module}; `pip install {module}`.") from None
