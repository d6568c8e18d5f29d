"""The files of the lists: each written completely or not at all, with a digest of its inputs."""

import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.settings import Paths

_INPUTS = b"nightreel.inputs"  # in a file's metadata: what it was made of
_SCHEMA = pa.schema(
    [(columns.USER_ID, pa.int64()), (columns.RANK, pa.int32()), (columns.VIDEO_ID, pa.int64())]
)


def is_made(path: Path, inputs: str) -> bool:
    """Whether the file holds complete lists made from these inputs."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (OSError, ValueError):
        return False
    return bool(found.get(_INPUTS) == inputs.encode())


def write_lists(files: Mapping[str, tuple[Path, str]], blocks: Iterable[Mapping[str, pl.DataFrame]]) -> None:
    """Write the lists of several systems side by side, block by block: all of the files, or none.

    Args:
        files: system name -> its file, and the digest of its inputs.
        blocks: system name -> rows, for one block of users at a time.
    """
    with ExitStack() as stack:
        # Contexts end in reverse order: a file is closed before it gets its name.
        writers = {}
        for system, (path, inputs) in files.items():
            temporary = stack.enter_context(atomic_write(path))
            schema = _SCHEMA.with_metadata({_INPUTS: inputs})
            writers[system] = stack.enter_context(pq.ParquetWriter(temporary, schema, compression="zstd"))
        for block in blocks:
            for system, lists in block.items():
                table = lists.to_arrow().cast(_SCHEMA)
                writers[system].write_table(table.replace_schema_metadata(writers[system].schema.metadata))


def write_shared(path: Path, inputs: str, rows: pl.DataFrame) -> None:
    """Write related or popular lists."""
    table = rows.to_arrow()
    with atomic_write(path) as temporary:
        pq.write_table(table.replace_schema_metadata({_INPUTS: inputs}), temporary, compression="zstd")


def remove_others(paths: Paths, files: Iterable[Path]) -> None:
    """Remove the lists of days and systems that are no longer judged, so that no stale file is read."""
    kept = set(files)
    for path in paths.backtest.glob("*/*.parquet"):
        if path not in kept:
            path.unlink()
    for folder in paths.backtest.iterdir():
        if folder.is_dir() and not any(folder.glob("*.parquet")):
            shutil.rmtree(folder)
