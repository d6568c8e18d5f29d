"""What the store writes: results, saved datasets, batches appended to a source, logged features."""

import uuid
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.feature_logging import LoggingConfig
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_utils import get_pyarrow_schema_from_batch_source
from feast.repo_config import RepoConfig
from feast.saved_dataset import SavedDatasetStorage

from feast_asof.errors import AsOfError
from feast_asof.sources import open_parquet, open_source


def write_whole_file(path: Path, batches: Iterator[pa.RecordBatch], **options: Any) -> int:
    """Write batches to a parquet file that appears when it is whole. Returns the rows written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    rows = 0
    try:
        first = next(batches)
        with pq.ParquetWriter(partial, first.schema, **options) as writer:
            for batch in chain([first], batches):
                writer.write_batch(batch)
                rows += batch.num_rows
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return rows


def save_dataset(
    config: RepoConfig,
    storage: SavedDatasetStorage,
    batches: Iterator[pa.RecordBatch],
    *,
    allow_overwrite: bool,
) -> None:
    """Write a saved dataset: one file where the path ends in .parquet, else a folder with one.

    Raises SavedDatasetLocationAlreadyExists as Feast's stores do, and AsOfError for another storage.
    """
    if not isinstance(storage, SavedDatasetFileStorage):
        raise AsOfError(f"saved dataset: storage is {type(storage).__name__}; give SavedDatasetFileStorage.")
    path = Path(FileSource.get_uri_for_file_path(config.repo_path, storage.file_options.uri))
    if path.exists() and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=storage.file_options.uri)
    if path.suffix == ".parquet":
        write_whole_file(path, batches)
        return
    stale = list(path.glob("*.parquet"))
    write_whole_file(path / f"{uuid.uuid4().hex}.parquet", batches)
    for file in stale:
        file.unlink()


def append_to_source(config: RepoConfig, view: FeatureView, table: pa.Table) -> None:
    """Add rows to a view's parquet source: a file is rewritten whole, a folder gets one file more.

    The columns must be the source's, in its order. Raises AsOfError otherwise.
    """
    what = f"feature view {view.name}"
    source = open_source(config, view.batch_source, what=what)
    _, names = get_pyarrow_schema_from_batch_source(config, view.batch_source)
    if list(names) != table.column_names:
        has, wanted = ", ".join(table.column_names), ", ".join(names)
        raise AsOfError(f"{what}: rows to write have the columns {has}; {source.path} has {wanted}.")
    try:
        added = table.cast(source.dataset.schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise AsOfError(f"{what}: rows to write do not fit {source.path}: {error}") from None
    path = Path(source.path)
    if path.is_dir():
        write_whole_file(path / f"{uuid.uuid4().hex}.parquet", iter(added.to_batches()))
    else:
        write_whole_file(path, _chain(source.dataset.to_batches(), added.to_batches()))


def append_logged_features(data: pa.Table | Path, logging_config: LoggingConfig, config: RepoConfig) -> None:
    """Add logged features to their destination folder, partitioned as it says."""
    destination = logging_config.destination
    if not isinstance(destination, FileLoggingDestination):
        kind = type(destination).__name__
        raise AsOfError(f"logged features: destination is {kind}; give FileLoggingDestination.")
    table = open_parquet(str(data), what="logged features").to_table() if isinstance(data, Path) else data
    pq.write_to_dataset(
        table,
        root_path=FileSource.get_uri_for_file_path(config.repo_path, destination.path),
        partition_cols=destination.partition_by or None,
        basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        existing_data_behavior="overwrite_or_ignore",
    )


def _chain(*parts: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return chain.from_iterable(parts)
