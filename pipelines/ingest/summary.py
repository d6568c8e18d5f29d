"""What ingest reports: rows, rejected rows by reason, deliveries, columns that are missing."""

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from nightreel.core import columns
from pipelines.ingest.csv_reading import LINE, REASON
from pipelines.ingest.raw_files import RawFile
from pipelines.ingest.tables import DUPLICATE, Table
from pipelines.ingest.taken import Taken

_COMPUTED = (columns.WATCH_RATIO,)  # not left empty


def counted(table: Table) -> dict[str, int | None]:
    """The rows of a raw file that are not in its table."""
    duplicates = table.rejects.filter(pl.col(REASON) == DUPLICATE).height
    return {"rows": 0, "duplicates": duplicates, "rejected": table.rejects.height - duplicates}


def size_of(table: pl.DataFrame) -> dict[str, int | None]:
    """Rows, users and videos of a table; None where it has no such column."""
    size: dict[str, int | None] = {"rows": table.height}
    for name, key in (("users", columns.USER_ID), ("videos", columns.VIDEO_ID)):
        size[name] = table[key].n_unique() if key in table.columns else None
    return size


def reasons(table: Table) -> list[dict[str, Any]]:
    """The reasons of the rejected rows; the value that was wrong, which differs from row to row, left out."""
    kind = pl.col(REASON).str.replace(r'"[^"]*" ', "")
    found = (
        table.rejects.filter(pl.col(REASON) != DUPLICATE)
        .group_by(kind)
        .agg(pl.len().alias("rows"), pl.col(LINE).min().alias("first_line"))
    )
    return found.sort(REASON).to_dicts()


def summary_of(taken: Mapping[RawFile, Taken], given: Collection[RawFile] = ()) -> dict[str, Any]:
    """What there is to say of the tables, of rejected rows, and of columns that are not there.

    given: the files whose columns settings name: what others they might have is of no interest.
    """
    summary: dict[str, Any] = {
        "tables": [{"table": file.table, **entry.counted} for file, entry in taken.items()]
    }
    rejected = [
        {"file": name, **reason}
        for file, entry in taken.items()
        for name, why in [(file.name, entry.why), *((one.name, one.why) for one in entry.delivered)]
        for reason in why
    ]
    if rejected:
        summary["rejected"] = rejected
    arrived = [
        {
            "table": file.table,
            "files": len(entry.delivered),
            "rows": sum(one.rows for one in entry.delivered),
            "new_or_changed": sum(one.added for one in entry.delivered),
            "last_arrived": entry.delivered[-1].arrived,
        }
        for file, entry in taken.items()
        if entry.delivered
    ]
    if arrived:
        summary["deliveries"] = arrived
    absent = [
        {"file": file.name, "columns": ", ".join(names)}
        for file, entry in taken.items()
        if file not in given
        and (
            names := [column.name for column in file.columns if column.name not in {*entry.names, *_COMPUTED}]
        )
    ]
    if absent:
        summary["columns_not_there_and_left_empty"] = absent
    return summary
