"""Tables of side files that are missing, derived from the plays, so that no later step lacks a table.

Each row carries the arrival of the plays that it was derived from, so that a replay sees the counts that
were known. A later ingest derives only what the days with new plays change: the daily records of such a day
from its plays, and of users and videos the first arrival, which is the earlier one of the known and the new.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint_of_files
from nightreel.core.checksums import is_usable
from nightreel.core.play_days import day_file, files_by_day, is_day_file
from nightreel.core.settings.needs import LogNeeds
from pipelines.ingest.mapping import mapped
from pipelines.ingest.merging import CREATED, Known
from pipelines.ingest.output import Output, superseded_path
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import CAPTIONS, ITEM_DAILY, USER_FEATURES
from pipelines.ingest.schemas import stored_type, table_columns

DERIVED = (USER_FEATURES, CAPTIONS, ITEM_DAILY)
_FILE = "derived.json"


@dataclass(frozen=True)
class DerivedTables:
    """The derived tables of an ingest.

    Attributes:
        written: by the table's name, size and modification time (ns) of its files.
        days: those of the file of each day with plays, by its path.
    """

    written: Mapping[str, Mapping[str, list[int]]]
    days: Mapping[str, list[int]]

    @classmethod
    def read(cls, settings: LogNeeds) -> "DerivedTables":
        """Those of the last ingest; without tables where there is no record of them."""
        try:
            known = json.loads((settings.paths.state / _FILE).read_text(encoding="utf-8"))
            return cls(known["written"], known["days"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls({}, {})

    def write(self, settings: LogNeeds) -> None:
        """Record them, once they are in place."""
        with atomic_write(settings.paths.state / _FILE) as temporary:
            temporary.write_text(json.dumps({"written": self.written, "days": self.days}), "utf-8")

    def are_there(self, file: RawFile) -> bool:
        """Whether the table of a file was derived, and its files are as they were then."""
        written = self.written.get(file.table)
        if not written or written != fingerprint_of_files(map(Path, written)):
            return False
        return all(is_usable(path) for path in map(Path, written) if not is_day_file(path))


def derive_tables(
    files: Collection[RawFile], output: Output, settings: LogNeeds, *, only_grown: bool
) -> DerivedTables:
    """Write the tables of the missing files.

    Args:
        files: of DERIVED.
        only_grown: whether no play of the last ingest is missing.
    """
    interactions = settings.paths.interactions
    paths = [day_file(interactions, day) for day in files_by_day(output.new(interactions / "_").parent)]
    days = output.stamps(paths)
    before = DerivedTables.read(settings) if only_grown else DerivedTables({}, {})
    changed = [path for path in paths if before.days.get(str(path)) != days[str(path)]]
    written = {}
    for file in files:
        is_kept = before.are_there(file)
        plays = [output.new(path) for path in (changed if is_kept else paths)]
        raw = mapped(file, settings.data)
        if file is ITEM_DAILY:
            made = _write_days(raw, plays, output, settings, is_kept=is_kept)
        else:
            made = _write_keys(raw, plays, output, is_kept=is_kept)
        written[file.table] = output.stamps(made)
    return DerivedTables(written, days)


def _write_keys(file: RawFile, plays: list[Path], output: Output, *, is_kept: bool) -> list[Path]:
    """The users or videos of the plays.

    Args:
        plays: of all days or, if the present table is kept, of the days that have changed.
    """
    (key,) = file.key
    arrivals = [pl.scan_parquet(path, hive_partitioning=False).select(key, CREATED) for path in plays]
    if is_kept:
        arrivals.append(output.known(file).table.lazy().select(key, CREATED))
    first = pl.concat(arrivals).group_by(key).agg(pl.col(CREATED).min()).collect()
    return output.write(file, _known(file, first))


def _write_days(
    file: RawFile, plays: list[Path], output: Output, settings: LogNeeds, *, is_kept: bool
) -> list[Path]:
    """The daily records of these days; those of other days are kept, if the present table is."""
    folder, path = output.tables / file.table, superseded_path(output.tables, file.table)
    replaced = [pl.read_parquet(path)] if is_kept and path.is_file() else []
    made: dict[date, Path] = {}
    for of_day in plays:
        known = _known(file, _records(pl.scan_parquet(of_day, hive_partitioning=False), settings))
        day: date = known.table[columns.LOCAL_DATE][0]
        made[day] = day_file(folder, day)
        known.table.rechunk().write_parquet(output.new(made[day]), statistics=True)
        replaced = [frame.filter(pl.col(columns.LOCAL_DATE) != day) for frame in replaced]
        replaced.append(known.superseded)
    for day, present in files_by_day(folder).items() if is_kept else ():
        if day not in made:
            made[day] = present
            output.keep(present)
    superseded = pl.concat(replaced) if replaced else pl.DataFrame()
    if not superseded.height:
        return sorted(made.values())
    superseded.sort(*file.key, CREATED).write_parquet(output.new(path), statistics=True)
    return [*sorted(made.values()), path]


def _known(file: RawFile, versions: pl.DataFrame) -> Known:
    """Every version of a table's rows as the table; what plays do not tell is null."""
    promised = table_columns(file)
    empty = [
        pl.lit(None, dtype=stored_type(column)).alias(name)
        for name, column in promised.items()
        if name not in versions.columns
    ]
    names = [*promised, CREATED]
    versions = versions.with_columns(empty).select(names).sort(*file.key, CREATED)
    last = (pl.struct(file.key) != pl.struct(file.key).shift(-1)).fill_null(value=True)
    is_last = versions.select(last.alias("last"))["last"]
    return Known(versions.filter(is_last), versions.filter(~is_last))


def _records(plays: pl.LazyFrame, settings: LogNeeds) -> pl.DataFrame:
    """Each video's plays on a local day, as known after each delivery that brought any."""
    day = pl.col(columns.EVENT_TIMESTAMP).dt.convert_time_zone(settings.data.zone.key).dt.date()
    counted = (
        plays.with_columns(day.alias(columns.LOCAL_DATE))
        .group_by(*ITEM_DAILY.key, CREATED)
        .agg(pl.len().cast(pl.Int64).alias("play_cnt"), pl.col(columns.VIDEO_DURATION).max())
        .sort(*ITEM_DAILY.key, CREATED)
        .with_columns(pl.col("play_cnt").cum_sum().over(ITEM_DAILY.key))
    )
    return counted.with_columns(pl.col("play_cnt").alias("show_cnt")).collect()
