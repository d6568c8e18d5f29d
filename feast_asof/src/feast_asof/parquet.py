"""Parquet files, folders and globs as one Arrow dataset, whose schema is the union of its files'."""

import glob
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
from feast.infra.offline_stores.file_source import FileSource

from feast_asof.errors import AsOfError, SourceMissingError
from feast_asof.lake_tables import refuse_files_of_tables
from feast_asof.schemas import unite, without_views

# Prefixes of names that are not data. Feast's logs, in `__log_date=...`, are data.
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
# What Hive, and Arrow with it, calls a partition of nulls.
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
WHOLE_NUMBER = re.compile(r"-?\d+")
# Files whose footers are read at a time.
FOOTERS = 16


@dataclass(frozen=True)
class Parquet:
    """An opened dataset; `conflicts`: column whose types differ between files -> what is wrong with it."""

    dataset: ds.Dataset
    conflicts: Mapping[str, str]


def open_parquet(path: str, *, what: str, endpoint: str | None = None) -> ds.Dataset:
    """Like find_parquet, but raises AsOfError also if a column's types conflict."""
    found = find_parquet(path, what=what, endpoint=endpoint)
    for conflict in found.conflicts.values():
        raise conflict_error(what, path, conflict)
    return found.dataset


def conflict_error(what: str, path: str, conflict: str) -> AsOfError:
    """The error to raise for a column whose types conflict between files."""
    return AsOfError(f"{what}: {path} cannot be read: {conflict}; write one of the files again.")


def find_parquet(path: str, *, what: str, endpoint: str | None = None) -> Parquet:
    """A parquet file, folder or glob as a dataset.

    A column that a file lacks is null there; a column with several types gets one that holds them all.

    Args:
        what: how errors name the reader, e.g. `feature view stats`.

    Raises:
        AsOfError: there is no parquet, or it cannot be read.
    """
    filesystem, plain = FileSource.create_filesystem_and_path(path, endpoint or "")
    files: str | list[str] = plain
    if filesystem is None and glob.has_magic(plain) and not Path(plain).exists():
        files = sorted(glob.glob(plain, recursive=True))
        if not files:
            raise SourceMissingError(f"{what}: no parquet file matches {plain}.")
    folder = isinstance(files, str) and _is_folder(files, filesystem)
    try:
        first = _dataset(files, filesystem)
        refuse_files_of_tables([*first.files, *([f"{plain}/."] if folder else [])], filesystem, what=what)
        schemas = _schemas(first)
        schema, conflicts = unite(first.files, schemas) if schemas else (first.schema, {})
        schema = pa.schema([field.with_type(without_views(field.type)) for field in schema], schema.metadata)
        # `key=value` folders below a folder are columns; those above it mean nothing.
        partitions = _partition_types(plain, first.files, schema) if folder else {}
        if not partitions and schema.equals(first.schema):
            dataset = first
        else:
            fields = [field for field in schema if field.name not in partitions]
            named = [pa.field(*pair) for pair in partitions.items()]
            dataset = _dataset(
                files, filesystem, partitioning="hive" if named else None, schema=pa.schema([*fields, *named])
            )
    except FileNotFoundError:
        raise SourceMissingError(f"{what}: there is no parquet file or folder at {plain}.") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise AsOfError(f"{what}: {plain} cannot be read as parquet: {error}") from None
    if not dataset.schema.names:
        raise SourceMissingError(f"{what}: {plain} holds no parquet file with columns.")
    return Parquet(dataset, conflicts)


def _dataset(
    files: str | list[str],
    filesystem: pa.fs.FileSystem | None,
    *,
    partitioning: str | None = None,
    schema: pa.Schema | None = None,
) -> ds.Dataset:
    return ds.dataset(
        files,
        format="parquet",
        filesystem=filesystem,
        partitioning=partitioning,
        schema=schema,
        ignore_prefixes=list(NOT_DATA),
    )


def _schemas(dataset: ds.Dataset) -> list[pa.Schema]:
    """The schema of each file; none where there is only one, which the dataset has read already."""
    fragments = list(dataset.get_fragments())
    if len(fragments) < 2:
        return []
    with ThreadPoolExecutor(FOOTERS) as pool:
        return list(pool.map(lambda fragment: fragment.physical_schema, fragments))


def _partition_types(folder: str, files: Sequence[str], schema: pa.Schema) -> dict[str, pa.DataType]:
    """The columns that `key=value` folders make, in order, with the files' own types where they have them."""
    values: dict[str, set[str]] = {}
    for file in files:
        for part in PurePosixPath(file).relative_to(PurePosixPath(folder)).parts[:-1]:
            key, equals, value = part.partition("=")
            if equals and key:
                values.setdefault(key, set()).add(value)
    types = {}
    for key, texts in values.items():
        kind = schema.field(key).type if key in schema.names else _type_of_texts(texts - {HIVE_NULL})
        types[key] = kind.value_type if pa.types.is_dictionary(kind) else kind
    return types


def _type_of_texts(texts: set[str]) -> pa.DataType:
    """The type that Arrow infers, except for integers beyond 32 bits, which Arrow takes for text."""
    if not texts or not all(WHOLE_NUMBER.fullmatch(text) for text in texts):
        return pa.string()
    bits = max(int(text).bit_length() for text in texts)
    return pa.int32() if bits < 32 else pa.int64() if bits < 64 else pa.string()


def _is_folder(path: str, filesystem: pa.fs.FileSystem | None) -> bool:
    if filesystem is None:
        return Path(path).is_dir()
    return bool(filesystem.get_file_info(path).type == pa.fs.FileType.Directory)
