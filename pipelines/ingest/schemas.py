"""Pandera schemas of the validated tables: the promise that every later step builds on.

Pandera comes with pandas, .3 s of imports; commands that only read tables import this module without it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import NightreelError
from pipelines.ingest.raw_columns import Kind, RawColumn, RawFile
from pipelines.ingest.raw_files import EVENT, LOCAL_TIME, TIMESTAMP
from pipelines.local_days import INSTANT

if TYPE_CHECKING:
    import pandera.polars as pa


def schema_of(file: RawFile) -> "pa.DataFrameSchema":
    """The schema of the table that a raw file becomes: its documented columns, in order, and no others."""
    import pandera.polars as pa

    made = {
        column.name: _column(column)
        for column in file.columns
        if column.name not in (TIMESTAMP, LOCAL_TIME, EVENT)
    }
    if file.is_timed:
        # small_matrix has plays without a time; nothing that is learnt in time reads them.
        instant = {columns.EVENT_TIMESTAMP: pa.Column(INSTANT, nullable=file.time_optional)}
        keys = {name: made.pop(name) for name in (columns.USER_ID, columns.VIDEO_ID)}
        made = keys | instant | made
    return pa.DataFrameSchema(made, name=file.table, strict=True, ordered=True, unique=list(file.key) or None)


def validate(frame: pl.DataFrame, file: RawFile) -> None:
    """Check a table, or a part of it, against its schema."""
    import pandera.errors

    try:
        schema_of(file).validate(frame)
    except pandera.errors.SchemaError as error:
        # Bad rows were rejected before this check, so a failure is a bug of ours.
        raise NightreelError(
            f"{file.name}: the table {file.table} is not as promised: {error}.",
            "Please report this; leaving the file's newest rows out may help until then.",
        ) from error


def _column(column: RawColumn) -> "pa.Column":
    import pandera.polars as pa

    if column.name in (columns.PLAY_DURATION, columns.VIDEO_DURATION):
        # Whatever unit the file has them in.
        column = replace(column, kind=Kind.INTEGER if column.kind is Kind.NUMBER else column.kind)
    checks = [] if column.at_least is None else [pa.Check.ge(column.at_least)]
    if column.kind is Kind.NUMBER:
        checks.append(pa.Check(_finite, name="finite"))
    return pa.Column(column.kind.dtype, checks, nullable=column.nullable)


def _finite(data: "pa.PolarsData") -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key).is_finite())
