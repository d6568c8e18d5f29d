"""Ingest: raw CSV files in, validated tables out; what is rejected is kept with its line and reason.

A file that only grew since the last time is read from where it grew; one that has not changed, not at all.
Nothing of a run is put in place before all of it is right: a failed ingest leaves the tables as they were.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from nightreel import columns
from nightreel.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files, written_whole
from nightreel.errors import InputError
from nightreel.logs import progress
from nightreel.settings import Settings
from pipelines.ingest.csv_reading import LINE, REASON, REJECT_SCHEMA, inspect_csv
from pipelines.ingest.raw_files import BIG_MATRIX, RAW_FILES, RawFile, find_raw_folder, present_columns
from pipelines.ingest.tables import DUPLICATE, Source, Table, read_table
from pipelines.ingest.taken import Taken, read_taken, write_taken

__all__ = ["ingest"]


def ingest(settings: Settings, *, force: bool = False) -> StepResult:
    """Check the raw files and write `data/tables` and `data/rejects`, one parquet file each.

    Raises InputError, with nothing replaced, where a file or column is missing, where a file is no CSV or was
    cut off, or where more than max_reject_share of a file's rows are rejected (duplicates do not count).
    """
    folder = find_raw_folder(settings.raw_dir)
    paths = [folder / file.name for file in RAW_FILES]
    read = tuple(path for path in paths if path.is_file())
    record = StepRecord(settings.paths.state / "ingest.json")
    current = fingerprint(
        files=fingerprint_of_files(paths),
        settings=settings.model_dump(include={"time_zone", "max_reject_share"}),
    )
    if not force and record.is_done(current):
        wrote = tuple(sorted(settings.paths.tables.glob("*.parquet")))
        return StepResult("ingest", True, read, wrote, record.summary())
    before = {} if force else read_taken(settings)
    sources, missing = _inspect(folder, before)
    record.forget()
    taken: dict[Path, Taken] = {}
    with written_whole(settings.paths.tables) as tables, written_whole(settings.paths.rejects) as rejects:
        tables.mkdir()
        rejects.mkdir()
        places = _Places(settings, tables, rejects)
        new_bytes = sum(path.stat().st_size for path in read) - sum(source.header.start for source in sources)
        with progress("ingest", total=new_bytes) as advance:
            for path, file in zip(paths, RAW_FILES, strict=True):
                source = next((source for source in sources if source.path == path), None)
                if source is not None:
                    taken[path] = _take(source, places, settings, advance)
                elif path in read:
                    taken[path] = before[str(path)]
                    places.keep(file)
    write_taken(settings, taken)
    written = [Path(name) for entry in taken.values() for name in entry.written]
    summary = _summary({file: taken[folder / file.name] for file in RAW_FILES if folder / file.name in taken})
    if missing:
        summary["not_there"] = [{"file": file.name, "so": file.without} for file in missing]
    record.finish(current, written, summary)
    return StepResult("ingest", False, read, tuple(sorted(written)), summary)


class _Places:
    """Where a file's table and rejects stand now, and where the new ones are made."""

    def __init__(self, settings: Settings, tables: Path, rejects: Path) -> None:
        self._now = (settings.paths.tables, settings.paths.rejects)
        self._new = (tables, rejects)

    def now(self, file: RawFile) -> tuple[Path, Path]:
        """Of the table and of the rejects, as they stand when ingest has ended."""
        tables, rejects = self._now
        return tables / f"{file.table}.parquet", rejects / f"{Path(file.name).stem}.parquet"

    def new(self, file: RawFile) -> tuple[Path, Path]:
        """Of the table and of the rejects, while ingest is at work."""
        tables, rejects = (new / now.name for new, now in zip(self._new, self.now(file), strict=True))
        return tables, rejects

    def keep(self, file: RawFile) -> None:
        """Carry over what was made of a file that has not changed."""
        for now, new in zip(self.now(file), self.new(file), strict=True):
            if now.is_file():
                try:
                    os.link(now, new)
                except OSError:  # a file system without hard links
                    shutil.copy2(now, new)

    def written(self, file: RawFile) -> dict[str, list[int]]:
        """Stamps of the new files, under the names that they will have."""
        pairs = zip(self.now(file), self.new(file), strict=True)
        return {str(now): fingerprint_of_files([new])[str(new)] for now, new in pairs if new.is_file()}


def _inspect(folder: Path, before: Mapping[str, Taken]) -> tuple[list[Source], list[RawFile]]:
    """The files to be read, each looked through once, and the optional ones that are not there.

    Required files first, so that what is missing is said before the big ones are looked through.
    """
    sources, missing = [], []
    for file in sorted(RAW_FILES, key=lambda file: file.without is not None):
        path = folder / file.name
        if file.without is not None and not path.exists():
            missing.append(file)
            continue
        known = before.get(str(path))
        if known is not None and path.is_file() and known.is_same(path):
            continue
        header = inspect_csv(path, known)
        sources.append(Source(path, file, present_columns(file, header.names, path), header))
    return sources, missing


def _take(source: Source, places: _Places, settings: Settings, advance: Callable[[float], None]) -> Taken:
    """Read what is new of a file, and write its table and rejects."""
    earlier = _table_before(places.now(source.file)) if source.header.start else None
    table = read_table(source, settings.zone, advance, earlier)
    _refuse_too_many(source, table, places, settings)
    table_path, rejects_path = places.new(source.file)
    table.frame.write_parquet(table_path, statistics=True)
    if table.rejects.height:
        table.rejects.write_parquet(rejects_path)
    status = source.path.stat()
    return Taken(
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        digest=source.header.digest,
        lines=source.header.lines,
        names=source.header.names,
        counted=_counted(table),
        why=_why(table),
        written=places.written(source.file),
    )


def _table_before(paths: tuple[Path, Path]) -> Table:
    table, rejects = paths
    frame = pl.read_parquet(table)
    return Table(frame, pl.read_parquet(rejects) if rejects.is_file() else pl.DataFrame(schema=REJECT_SCHEMA))


def _refuse_too_many(source: Source, table: Table, places: _Places, settings: Settings) -> None:
    wrong = table.rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = table.frame.height + table.rejects.height
    if wrong.height > settings.max_reject_share * rows:
        _, kept = places.now(source.file)
        with written_whole(kept) as temporary:
            table.rejects.write_parquet(temporary)
        first = wrong.row(0, named=True)
        share = wrong.height / rows
        raise InputError(
            f"{source.path}, line {first[LINE]}, {first[REASON]}. {wrong.height} of {rows} rows "
            f"({share:.2%}) are rejected, more than max_reject_share = {settings.max_reject_share:g}; all of "
            f"them are in {kept}.",
            f"Repair the rows, or allow rejects: max_reject_share = {_rounded_up(share):g}.",
        )
    if source.file is BIG_MATRIX and table.frame.is_empty():
        raise InputError(f"{source.path}: no rows.", "Put the interaction log there.")


def _rounded_up(share: float) -> float:
    """The share with few digits, not less than it."""
    digits = 2
    while round(share, digits) < share:
        digits += 1
    return round(share, digits)


def _counted(table: Table) -> dict[str, int | None]:
    duplicates = table.rejects.filter(pl.col(REASON) == DUPLICATE).height
    counted: dict[str, int | None] = {
        "rows": table.frame.height,
        "duplicates": duplicates,
        "rejected": table.rejects.height - duplicates,
    }
    for name, key in (("users", columns.USER_ID), ("videos", columns.VIDEO_ID)):
        counted[name] = table.frame[key].n_unique() if key in table.frame.columns else None
    return counted


def _why(table: Table) -> list[dict[str, Any]]:
    """The reasons of the rejected rows; the value that was wrong, which differs from row to row, left out."""
    kind = pl.col(REASON).str.replace(r'"[^"]*" ', "")
    counted = (
        table.rejects.filter(pl.col(REASON) != DUPLICATE)
        .group_by(kind)
        .agg(pl.len().alias("rows"), pl.col(LINE).min().alias("first_line"))
    )
    return counted.sort(REASON).to_dicts()


def _summary(taken: Mapping[RawFile, Taken]) -> dict[str, Any]:
    """What there is to say of the tables, of rejected rows, and of columns that are not there."""
    summary: dict[str, Any] = {
        "tables": [{"table": file.table, **entry.counted} for file, entry in taken.items()]
    }
    rejected = [{"file": file.name, **reason} for file, entry in taken.items() for reason in entry.why]
    if rejected:
        summary["rejected"] = rejected
    absent = [
        {"file": file.name, "columns": ", ".join(names)}
        for file, entry in taken.items()
        if (names := [column.name for column in file.columns if column.name not in entry.names])
    ]
    if absent:
        summary["columns_not_there_and_left_empty"] = absent
    return summary
