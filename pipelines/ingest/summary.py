"""The report of ingest: rows, rejected rows by reason, deliveries, missing columns."""

from collections.abc import Collection, Mapping
from typing import Any, Self

import polars as pl
from pydantic import BaseModel, ConfigDict

from nightreel.core import columns
from nightreel.core.steps import Facts
from pipelines.ingest.ingest_records import IngestRecord
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.reject_columns import LINE, REASON
from pipelines.ingest.sources import Source
from pipelines.ingest.tables import DUPLICATE

FILE = "file"
_COMPUTED = (columns.WATCH_RATIO,)  # not left empty


class TableFacts(BaseModel):
    """One table: its rows, and the rows of its raw file that are not in it."""

    model_config = ConfigDict(frozen=True)

    table: str
    rows: int
    duplicates: int | None = None
    rejected: int | None = None
    users: int | None = None
    videos: int | None = None

    @classmethod
    def of(cls, file: RawFile, entry: IngestRecord) -> Self:
        """The facts of the table that a raw file and its deliveries became."""
        return cls.model_validate({"table": file.table, **entry.counted})


class IngestFacts(Facts):
    """The facts that ingest reports: a row per table, per reason for rejects, per table with deliveries."""

    tables: list[TableFacts]
    rejected: list[dict[str, Any]] | None = None
    deliveries: list[dict[str, Any]] | None = None
    columns_not_there_and_left_empty: list[dict[str, str]] | None = None
    recognised: list[dict[str, str]] | None = None
    ids: dict[str, str] | None = None
    not_there: list[dict[str, str]] | None = None

    @property
    def rows_written(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)


def counted(rejects: pl.DataFrame) -> dict[str, int | None]:
    """The rows of a raw file that are not in its table."""
    duplicates = rejects.filter(pl.col(REASON) == DUPLICATE).height
    return {"rows": 0, "duplicates": duplicates, "rejected": rejects.height - duplicates}


def record_of(source: Source, rejects: pl.DataFrame) -> IngestRecord:
    """The record of a raw file that was read, without the table that it became."""
    header = source.header
    return IngestRecord(
        size=header.stamp[0],
        modified_ns=header.stamp[1],
        digest=header.digest,
        lines=header.lines,
        names=header.names,
        counted=counted(rejects),
        why=reasons(rejects, source),
        written={},
    )


def size_of(table: pl.DataFrame) -> dict[str, int | None]:
    """Rows, users and videos of a table; None where it has no such column."""
    size: dict[str, int | None] = {"rows": table.height}
    for name, key in (("users", columns.USER_ID), ("videos", columns.VIDEO_ID)):
        size[name] = table[key].n_unique() if key in table.columns else None
    return size


def located(rejects: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The rejects; if several files were read as one, each with its file and the line there."""
    if not source.header.text.parts:
        return rejects
    found = [source.header.text.where(source.path, line) for line in rejects[LINE]]
    files = pl.Series(FILE, [str(file) for file, _ in found], dtype=pl.String)
    lines = pl.Series(LINE, [line for _, line in found], dtype=pl.Int64)
    return rejects.with_columns(lines).insert_column(0, files)


def reasons(rejects: pl.DataFrame, source: Source | None = None) -> list[dict[str, Any]]:
    """The reasons for rejected rows; for a raw file of several files, with the file of the first such row.

    The value that was wrong, which differs from row to row, is left out.
    """
    kind = pl.col(REASON).str.replace(r'"[^"]*" ', "")
    found = (
        rejects.filter(pl.col(REASON) != DUPLICATE)
        .group_by(kind)
        .agg(pl.len().alias("rows"), pl.col(LINE).min().alias("first_line"))
    )
    said = found.sort(REASON).to_dicts()
    for reason in said if source is not None else ():
        assert source is not None
        file, line = source.header.text.where(source.path, reason["first_line"])
        reason |= {FILE: file.name, "first_line": line}
    return said


def facts_of(records: Mapping[RawFile, IngestRecord], given: Collection[RawFile] = ()) -> IngestFacts:
    """The report on the tables, rejected rows and missing columns.

    Args:
        given: the files whose columns settings map; columns that they lack are not reported.
    """
    rejected = [
        {"file": name, **reason}
        for file, entry in records.items()
        for name, why in [(file.name, entry.why), *((one.name, one.why) for one in entry.delivered)]
        for reason in why
    ]
    arrived = [
        {
            "table": file.table,
            "files": len(entry.delivered),
            "rows": sum(one.rows for one in entry.delivered),
            "new_or_changed": sum(one.added for one in entry.delivered),
            "last_arrived": entry.delivered[-1].arrived,
        }
        for file, entry in records.items()
        if entry.delivered
    ]
    absent = [
        {"file": file.name, "columns": ", ".join(names)}
        for file, entry in records.items()
        if file not in given
        and (
            names := [column.name for column in file.columns if column.name not in {*entry.names, *_COMPUTED}]
        )
    ]
    return IngestFacts(
        tables=[
            TableFacts.model_validate({"table": file.table, **entry.counted})
            for file, entry in records.items()
        ],
        rejected=rejected or None,
        deliveries=arrived or None,
        columns_not_there_and_left_empty=absent or None,
    )
