"""Ingest: raw CSV files in, validated tables out; what is rejected is kept with its line and reason.

Nothing of a run is put in place before all of it is right: a failed ingest leaves the tables as they were.
"""

from pathlib import Path
from typing import Any

import polars as pl

from nightreel import columns
from nightreel.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files, written_whole
from nightreel.errors import InputError
from nightreel.logs import get_logger, progress
from nightreel.settings import Settings
from pipelines.ingest.csv_reading import LINE, REASON, inspect_csv
from pipelines.ingest.raw_files import BIG_MATRIX, RAW_FILES, RawFile, find_raw_folder, present_columns
from pipelines.ingest.tables import DUPLICATE, Source, Table, read_table

__all__ = ["ingest"]

_log = get_logger(__name__)


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
    sources, missing = _inspect(folder)
    facts: dict[str, Any] = {}
    record.forget()
    rejected: dict[str, pl.DataFrame] = {}
    with written_whole(settings.paths.tables) as tables:
        tables.mkdir()
        with progress("ingest", total=sum(source.path.stat().st_size for source in sources)) as advance:
            for source in sources:
                table = read_table(source, settings.zone, advance)
                rejected[source.file.name] = table.rejects
                _refuse_too_many(source, table, rejected, settings)
                table.frame.write_parquet(tables / f"{source.file.table}.parquet", statistics=True)
                facts[source.file.table] = _facts(table)
        _write_rejects(rejected, settings.paths.rejects)
    wrote = tuple(sorted(settings.paths.tables.glob("*.parquet")))
    rejects = tuple(sorted(settings.paths.rejects.glob("*.parquet")))
    summary: dict[str, Any] = {"tables": [{"table": name, **fact} for name, fact in facts.items()]}
    summary |= _said_of(rejected, missing, sources)
    record.finish(current, [*wrote, *rejects], summary)
    return StepResult("ingest", False, read, (*wrote, *rejects), summary)


def _inspect(folder: Path) -> tuple[list[Source], list[RawFile]]:
    """The files that are there, each looked through once, and the optional ones that are not."""
    sources, missing = [], []
    required = [file for file in RAW_FILES if file.without is None]
    for file in (*required, *(file for file in RAW_FILES if file not in required)):
        path = folder / file.name
        if file.without is not None and not path.exists():
            missing.append(file)
            continue
        header = inspect_csv(path)
        sources.append(Source(path, file, present_columns(file, header.names, path), header))
    sources.sort(key=lambda source: RAW_FILES.index(source.file))
    return sources, missing


def _refuse_too_many(
    source: Source, table: Table, rejected: dict[str, pl.DataFrame], settings: Settings
) -> None:
    counted = table.rejects.filter(pl.col(REASON) != DUPLICATE)
    rows = table.frame.height + table.rejects.height
    if counted.height > settings.max_reject_share * rows:
        _write_rejects(rejected, settings.paths.rejects)
        first = counted.row(0, named=True)
        share = counted.height / rows
        raise InputError(
            f"{source.path}, line {first[LINE]}, {first[REASON]}. {counted.height} of {rows} rows "
            f"({share:.2%}) are rejected, more than max_reject_share = {settings.max_reject_share:g}; all of "
            f"them are in {settings.paths.rejects / (source.path.stem + '.parquet')}.",
            f"Repair the rows, or allow rejects: max_reject_share = {_rounded_up(share):g}.",
        )
    if source.file is BIG_MATRIX and table.frame.is_empty():
        raise InputError(f"{source.path}: no rows.", "Put the interaction log there.")


def _rounded_up(share: float) -> float:
    """The share with two digits, not less than it."""
    digits = 2
    while round(share, digits) < share or round(share, digits) == 0:
        share += 10.0**-digits / 2 if round(share, digits) else 0
        digits += 1
    return round(share, digits)


def _write_rejects(rejected: dict[str, pl.DataFrame], folder: Path) -> None:
    with written_whole(folder) as temporary:
        temporary.mkdir()
        for name, rows in rejected.items():
            if rows.height:
                rows.write_parquet(temporary / f"{Path(name).stem}.parquet")


def _facts(table: Table) -> dict[str, Any]:
    duplicates = table.rejects.filter(pl.col(REASON) == DUPLICATE).height
    facts: dict[str, Any] = {
        "rows": table.frame.height,
        "duplicates": duplicates,
        "rejected": table.rejects.height - duplicates,
    }
    for name, key in (("users", columns.USER_ID), ("videos", columns.VIDEO_ID)):
        facts[name] = table.frame[key].n_unique() if key in table.frame.columns else None
    return facts


def _said_of(
    rejected: dict[str, pl.DataFrame], missing: list[RawFile], sources: list[Source]
) -> dict[str, Any]:
    """What else there is to say: why rows were rejected, and what is not there."""
    said: dict[str, Any] = {}
    why = pl.concat([rows.with_columns(pl.lit(name).alias("file")) for name, rows in rejected.items()])
    why = why.filter(pl.col(REASON) != DUPLICATE)
    if why.height:
        # The value that was wrong differs from row to row: the column and the problem tell the reason.
        kind = pl.col(REASON).str.replace(r'"[^"]*" ', "")
        counted = why.group_by("file", kind).agg(
            pl.len().alias("rows"), pl.col(LINE).min().alias("first_line")
        )
        said["rejected"] = counted.sort("file", REASON).to_dicts()
    if missing:
        said["not_there"] = [{"file": file.name, "so": file.without} for file in missing]
    absent = [
        {"file": source.file.name, "columns": ", ".join(names)}
        for source in sources
        if (names := [column.name for column in source.file.columns if column not in source.present.columns])
    ]
    if absent:
        said["columns_not_there_and_left_empty"] = absent
    return said
