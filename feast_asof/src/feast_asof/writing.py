"""Everything that the store writes: results, saved datasets, batches added to a source, logged features."""

import glob
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource, SavedDatasetFileStorage
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_asof.errors import AsOfError
from feast_asof.files import Location
from feast_asof.lake_tables import (
    ScannedRows,
    append_to_delta,
    append_to_iceberg,
    delta_options,
    is_iceberg,
    write_delta,
)
from feast_asof.objects import rewrite_object
from feast_asof.parquet import HIVE_NULL, open_parquet
from feast_asof.sources import ParquetSource, open_source

# The file of a saved dataset's folder: writing it again replaces it, with no moment of both or neither.
DATASET_FILE = "data.parquet"


def write_whole_file(path: Path | Location, batches: Iterator[pa.RecordBatch], **options: Any) -> int:
    """Write batches to a parquet file that appears once it is complete; returns the number of rows."""
    target = Location(str(path), None) if isinstance(path, Path) else path
    rows = 0
    first = next(batches)
    with target.write_whole() as file, pq.ParquetWriter(file, first.schema, **options) as writer:
        for batch in chain([first], batches):
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def save_dataset(
    config: RepoConfig,
    storage: SavedDatasetStorage,
    batches: Iterator[pa.RecordBatch],
    *,
    allow_overwrite: bool,
) -> None:
    """Write a saved dataset: a Delta table, a file if the path ends in .parquet, or a folder with one file.

    Raises:
        SavedDatasetLocationAlreadyExists: as in Feast's stores, without `allow_overwrite`.
        AsOfError: the storage is not file-based.
    """
    if not isinstance(storage, SavedDatasetFileStorage):
        raise AsOfError(f"saved dataset: storage is {type(storage).__name__}; give SavedDatasetFileStorage.")
    options = storage.file_options
    target = Location.of(config, options.uri, options.s3_endpoint_override)
    if target.exists() and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=options.uri)
    if isinstance(options.file_format, DeltaFormat):
        path = FileSource.get_uri_for_file_path(config.repo_path, options.uri)
        storage_options = delta_options(options.s3_endpoint_override)
        write_delta(path, batches, what="saved dataset", options=storage_options, overwrite=allow_overwrite)
        return
    if target.path.endswith(".parquet"):
        write_whole_file(target, batches)
        return
    stale = target.parquet_files() if target.is_folder() else []
    write_whole_file(target / DATASET_FILE, batches)
    for file in stale:
        if file.name != DATASET_FILE:
            file.delete()


def append_to_source(config: RepoConfig, view: FeatureView, table: pa.Table) -> None:
    """Add rows to a view's source: a file is rewritten, a folder gets another file, a table a commit.

    Writers of one file wait for each other, across threads and processes; of one object on S3, the slower
    writer starts again.

    Raises:
        AsOfError: the columns are not the source's.
    """
    what = f"feature view {view.name}"
    source = open_source(config, view.batch_source, what=what)
    if is_iceberg(view.batch_source):
        append_to_iceberg(view.batch_source, _fitted(table, source), what=what)
        return
    options = view.batch_source.file_options
    if isinstance(options.file_format, DeltaFormat):
        storage = delta_options(options.s3_endpoint_override)
        append_to_delta(source.path, _fitted(table, source), what=what, options=storage)
        return
    target = Location.of(config, options.uri, options.s3_endpoint_override)
    if target.is_folder():
        added = _fitted(table, source)
        write_whole_file(target / f"{uuid.uuid4().hex}.parquet", iter(added.to_batches()))
        return
    if target.filesystem is not None:

        def with_rows(old: Path, new: Path) -> None:
            rows = ds.dataset(str(old), format="parquet")
            added = _fitted(table, replace(source, dataset=rows))
            write_whole_file(new, chain(rows.to_batches(), added.to_batches()))

        rewrite_object(target, options.s3_endpoint_override, with_rows, what=what)
        return
    if glob.has_magic(target.path) and not target.exists():
        raise AsOfError(
            f"{what}: rows cannot be added to the pattern {source.path}; "
            f"make it a folder, which gets one file more each time."
        )
    with target.locked():
        # A file read before the lock is held may lack another writer's rows.
        source = open_source(config, view.batch_source, what=what)
        added = _fitted(table, source)
        assert not isinstance(source.dataset, ScannedRows)
        write_whole_file(target, chain(source.dataset.to_batches(), added.to_batches()))


def append_logged_features(data: pa.Table | Path, logging_config: LoggingConfig, config: RepoConfig) -> None:
    """Add logged features to their destination folder, partitioned as configured, in complete files."""
    destination = logging_config.destination
    if not isinstance(destination, FileLoggingDestination):
        kind = type(destination).__name__
        raise AsOfError(f"logged features: destination is {kind}; give FileLoggingDestination.")
    table = open_parquet(str(data), what="logged features").to_table() if isinstance(data, Path) else data
    folder = Location.of(config, destination.path, destination.s3_endpoint_override)
    for subfolder, part in _partitions(table, destination.partition_by or []):
        target = folder / "/".join([*subfolder, f"{uuid.uuid4().hex}.parquet"])
        write_whole_file(target, iter(part.to_batches()))


def _partitions(table: pa.Table, by: list[str]) -> Iterator[tuple[list[str], pa.Table]]:
    """The rows of each combination of values, as `key=value` folder names, without those columns."""
    if not by:
        yield [], table
        return
    for values in table.select(by).group_by(by).aggregate([]).to_pylist():
        part, folders = table, []
        for name, value in values.items():
            column = part[name]
            part = part.filter(column.is_null() if value is None else pc.equal(column, value))
            folders.append(f"{name}={HIVE_NULL if value is None else quote(str(value), safe='')}")
        yield folders, part.drop_columns(by)


def _fitted(table: pa.Table, source: ParquetSource) -> pa.Table:
    """The rows in the types and order of a source. Raises AsOfError where they do not fit."""
    schema = pa.schema([pa.field(name, source.type_of(name)) for name in source.dataset.schema.names])
    if sorted(table.column_names) != sorted(schema.names):
        has, needs = ", ".join(table.column_names), ", ".join(schema.names)
        raise AsOfError(f"{source.what}: rows to write have the columns {has}; {source.path} has {needs}.")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise AsOfError(f"{source.what}: rows to write do not fit {source.path}: {error}") from None
