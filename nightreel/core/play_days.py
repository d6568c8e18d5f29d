"""The table of a log, such as the plays: a folder for each local day, with one file in order of time.

Days in order are the whole log in order of time. A night writes the files of the days that it brought rows
of, and leaves the others alone (docs/decisions/day-partitions.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from nightreel.core.checksums import DAY_PREFIX, digest_of, recorded_digest, require_as_written
from nightreel.core.errors import InputError

_FILE = "rows.parquet"
# Most plays in memory at a time where days are processed one after the other.
PLAYS_AT_A_TIME = 4_000_000


def day_file(interactions: Path, day: date) -> Path:
    """The file of a local day's plays below the table's folder."""
    return interactions / f"{DAY_PREFIX}{day.isoformat()}" / _FILE


def is_day_file(path: Path) -> bool:
    """Whether a path is that of a day's file."""
    return path.name == _FILE and path.parent.name.startswith(DAY_PREFIX)


def files_by_day(interactions: Path) -> dict[date, Path]:
    """The file of each day with plays, in order of the days; empty if there is no table."""
    found = sorted(interactions.glob(f"{DAY_PREFIX}*/{_FILE}"))
    return {date.fromisoformat(path.parent.name.removeprefix(DAY_PREFIX)): path for path in found}


def table_exists(table: Path) -> bool:
    """Whether a table is there: a file, or a folder of days."""
    return table.is_file() or bool(files_by_day(table))


def require_plays(interactions: Path) -> list[Path]:
    """The files of the table in order of their days.

    Raises:
        InputError: if ingest has not written the table.
    """
    files = list(files_by_day(interactions).values())
    if not files:
        raise InputError(f"{interactions}: no such table.", "Run `nightreel ingest` first.")
    return files


def scan_days(interactions: Path) -> pl.LazyFrame:
    """All plays with all columns, in order of time.

    Raises:
        InputError: if ingest has not written the table.
    """
    return pl.scan_parquet(require_plays(interactions), hive_partitioning=False)


def read_days(files: list[Path], names: Sequence[str]) -> pl.DataFrame:
    """Columns of the plays of some days, at least one, in order of time.

    Raises:
        InputError: if a file is not as ingest wrote it.
    """
    require_as_written(files)
    return pl.scan_parquet(files, hive_partitioning=False).select(names).collect()


def rows_of(files: Iterable[Path]) -> int:
    """The number of plays on these days."""
    return sum(pq.read_metadata(path).num_rows for path in files)


def newest_in(path: Path, column: str) -> datetime | None:
    """The latest of a file's instants in a column: from the file's statistics, without reading a row.

    None if there is none, or no such column; a file without statistics is read.
    """
    metadata = pq.read_metadata(path)
    names = metadata.schema.names
    if column not in names or not metadata.num_rows:
        return None
    at = names.index(column)
    of_groups = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    if all(one is not None and one.has_min_max for one in of_groups):
        newest: datetime = max(one.max for one in of_groups)
        return newest
    found: datetime | None = pl.scan_parquet(path).select(pl.col(column).max()).collect().item()
    return found


def newest_of(files: Iterable[Path], column: str) -> datetime | None:
    """The latest of several files' instants in a column, as `newest_in`; None if none has one."""
    newest = (newest_in(path, column) for path in files)
    return max((one for one in newest if one is not None), default=None)


def digests_of_days(interactions: Path) -> dict[date, str]:
    """The digest of each day's file: the recorded one or, if there is none, a computed one."""
    found = files_by_day(interactions)
    return {day: digest_on_record(path) for day, path in found.items()}


def digest_on_record(path: Path) -> str:
    """The digest of a day's file, without reading the file if it is recorded."""
    return recorded_digest(path) or digest_of(path)


def unchanged_days(known: Mapping[date, str], now: Mapping[date, str]) -> list[date]:
    """The days before the first one that only one of two tables has, or whose digests differ.

    Args:
        known, now: the digests of the days of each table.
    """
    kept = []
    for day in sorted({*known, *now}):
        if known.get(day) != now.get(day):
            break
        kept.append(day)
    return kept


def in_parts(files: list[Path], *, at_least: int = 1) -> list[list[Path]]:
    """Consecutive days in groups of about PLAYS_AT_A_TIME plays, or fewer if that makes too few groups."""
    return cut(files, max(1 + rows_of(files) // PLAYS_AT_A_TIME, at_least))


def cut(files: list[Path], pieces: int) -> list[list[Path]]:
    """Consecutive days in this many pieces, or fewer, with about equally many plays each."""
    rows = np.cumsum([0, *(rows_of([path]) for path in files)])
    cuts = np.searchsorted(rows, np.linspace(0, rows[-1], pieces + 1)[1:-1])
    borders = sorted({0, *(int(position) for position in cuts), len(files)})
    return [files[start:stop] for start, stop in pairwise(borders)]
