"""What had become known by an instant: the tables as they were then, and what has arrived since.

Event time says when a thing happened, `created_timestamp` when the delivery that brought it arrived. The
rows of the first load count as known from the start.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.checksums import files_below, is_lost, require_as_written
from nightreel.core.errors import InputError
from nightreel.core.instants import MICROSECOND
from nightreel.core.play_days import day_file, files_by_day, newest_of, require_plays, table_exists
from nightreel.core.settings import DataSettings, Paths
from pipelines.ingest.changes import changed_since
from pipelines.ingest.deliveries import delivered_after, deliveries
from pipelines.ingest.merging import Known
from pipelines.ingest.output import superseded_path
from pipelines.ingest.raw_files import BIG_MATRIX, CAPTIONS, ITEM_DAILY, USER_FEATURES
from pipelines.ingest.unread import printable
from pipelines.local_days import ALWAYS_KNOWN, INSTANT

_NAMED_MAX = 5
_FILES = (USER_FEATURES, CAPTIONS)
_RECORDS = tuple(file.table for file in (ITEM_DAILY, *_FILES))


def read_known(paths: Paths, table: str) -> Known:
    """A table with created_timestamp and the rows that deliveries replaced in it."""
    return Known.read(paths.table(table), superseded_path(paths.tables, table))


def table_files(paths: Paths) -> tuple[Path, ...]:
    """The files of the tables that features and lists are made from, and rows that deliveries replaced.

    Missing ones that were once written are included, so that a lost file is refused.
    """
    superseded = [superseded_path(paths.tables, name) for name in _RECORDS]
    of_days = (paths.interactions, paths.video_daily)
    files = [file for folder in of_days for file in files_below(folder)]
    files += [*(paths.table(file.table) for file in _FILES), *superseded]
    return tuple(path for path in files if path.is_file() or is_lost(path))


def require_tables(tables: Iterable[Path]) -> None:
    """Raise InputError for the first of these tables that ingest has not written."""
    for path in tables:
        if not table_exists(path):
            raise InputError(f"{path}: no such table.", "Run `nightreel ingest` first.")


def last_arrival(paths: Paths) -> datetime:
    """When the newest row of the tables arrived; ALWAYS_KNOWN where none was delivered."""
    records = [_require(paths.table(file.table)) for file in _FILES]
    require_tables([paths.video_daily])
    of_days = files_by_day(paths.video_daily).values()
    files = (*require_plays(paths.interactions), *of_days, *records)
    return newest_of(files, columns.CREATED_TIMESTAMP) or ALWAYS_KNOWN


def known_now(paths: Paths, settings: DataSettings) -> datetime:
    """An instant by which exactly what the tables contain had arrived.

    That is now, or, if a delivery has arrived that is not merged yet, just before it.
    """
    now = datetime.now(UTC)
    newest = last_arrival(paths)
    waiting = [
        one.arrived
        for one in deliveries(settings.raw_dir)
        if one.file.table in (BIG_MATRIX.table, *_RECORDS) and one.arrived > newest
    ]
    if waiting:
        return max(newest, min(now, waiting[0] - MICROSECOND))
    return max(newest, now)


def raw_changes_since(paths: Paths, known_at: datetime, as_of: datetime) -> list[str]:
    """A line for each raw file whose change may make a replayed night's lists differ from the original."""
    return [
        f"The raw file {name} has changed since that night knew it (found {at:%Y-%m-%d %H:%M} UTC): what it "
        "brought counts as known from the start, so the lists may differ from that night's. Deliver new rows "
        "in incoming/ instead."
        for name, at in changed_since(paths, known_at, as_of)
    ]


def deliveries_after(settings: DataSettings, now: datetime) -> list[str]:
    """The newest few deliveries with stamps later than now, one line each."""
    later = reversed(delivered_after(settings.raw_dir, now)[-_NAMED_MAX:])
    return [
        f"delivery {printable(one.path.name)} arrived {one.arrived:%Y-%m-%d %H:%M} UTC, after now"
        for one in later
    ]


def plays_before(files: list[Path], as_of: datetime, known_at: datetime | None) -> pl.LazyFrame:
    """The plays of some days, at least one, that happened before `as_of` and had arrived by `known_at`.

    Args:
        known_at: None for all plays, whenever they arrived.
    """
    plays = pl.scan_parquet(files, hive_partitioning=False)
    conditions = [pl.col(columns.EVENT_TIMESTAMP) < pl.lit(as_of, dtype=INSTANT)]
    if known_at is not None and columns.CREATED_TIMESTAMP in plays.collect_schema():
        conditions.append(pl.col(columns.CREATED_TIMESTAMP) <= pl.lit(known_at, dtype=INSTANT))
    return plays.filter(*conditions)


def newest_play(paths: Paths, as_of: datetime, known_at: datetime | None) -> datetime | None:
    """When the newest of the plays of `plays_before` happened (UTC); None if there are none."""
    for path in reversed(require_plays(paths.interactions)):
        plays = plays_before([path], as_of, known_at)
        newest: datetime | None = plays.select(pl.col(columns.EVENT_TIMESTAMP).max()).collect().item()
        if newest is not None:
            return newest
    return None


def write_tables_as_of(known_at: datetime, paths: Paths, target: Paths) -> None:
    """Write the tables that features are built from as they were at an instant to another home."""
    require_as_written(table_files(paths))
    superseded_path(target.tables, "").parent.mkdir(parents=True, exist_ok=True)
    require_plays(paths.interactions)
    for day, path in files_by_day(paths.interactions).items():
        plays = Known.read(path, path.with_name("none")).at(known_at, ()).table
        if plays.height:
            target_file = day_file(target.interactions, day)
            target_file.parent.mkdir(parents=True, exist_ok=True)
            plays.write_parquet(target_file, statistics=True)
    _write_records_as_of(known_at, paths, target)
    for file in _FILES:
        _require(paths.table(file.table))
        known = read_known(paths, file.table).at(known_at, file.key)
        known.table.write_parquet(target.table(file.table), statistics=True)
        if known.superseded.height:
            known.superseded.write_parquet(superseded_path(target.tables, file.table))


def _write_records_as_of(known_at: datetime, paths: Paths, target: Paths) -> None:
    require_tables([paths.video_daily])
    superseded = superseded_path(paths.tables, ITEM_DAILY.table)
    replaced = pl.read_parquet(superseded) if superseded.is_file() else None
    replaced_then = []
    for day, path in files_by_day(paths.video_daily).items():
        table = pl.read_parquet(path, hive_partitioning=False)
        of_day = table.clear() if replaced is None else replaced.filter(pl.col(columns.LOCAL_DATE) == day)
        known = Known(table, of_day)
        if columns.CREATED_TIMESTAMP not in table.columns:
            known = Known.first(table)
        known = known.at(known_at, ITEM_DAILY.key)
        made = day_file(target.video_daily, day)
        made.parent.mkdir(parents=True, exist_ok=True)
        known.table.write_parquet(made, statistics=True)
        replaced_then.append(known.superseded)
    if any(frame.height for frame in replaced_then):
        rows = pl.concat(replaced_then).sort(*ITEM_DAILY.key, columns.CREATED_TIMESTAMP)
        rows.write_parquet(superseded_path(target.tables, ITEM_DAILY.table))


def _require(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: no such table.", "Run `nightreel ingest` first.")
    return path
