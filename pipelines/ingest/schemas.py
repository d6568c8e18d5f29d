"""Pandera schemas of the validated tables, on which every later step relies.

Pandera checks one column after the other, which took half of a small ingest, and comes with pandas. So one
Polars query checks the whole table first; where that finds something, Pandera says what.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import NightreelError
from pipelines.ingest.raw_columns import Kind, RawColumn, RawFile
from pipelines.ingest.raw_files import EVENT, LOCAL_TIME, TIMESTAMP

if TYPE_CHECKING:
    import pandera.polars as pa


def table_columns(file: RawFile) -> dict[str, RawColumn]:
    """The columns of the table that a raw file becomes, in order: the documented ones, and no others."""
    made = {
        column.name: column for column in file.columns if column.name not in (TIMESTAMP, LOCAL_TIME, EVENT)
    }
    if not file.is_timed:
        return made
    # small_matrix has plays without a time; no feature or model reads them.
    instant = RawColumn(columns.EVENT_TIMESTAMP, Kind.SECONDS, nullable=file.time_optional)
    keys = {name: made.pop(name) for name in (columns.USER_ID, columns.VIDEO_ID)}
    return keys | {instant.name: instant} | made


def stored_type(column: RawColumn) -> pl.DataType:
    """The type of a table's column."""
    if column.name in (columns.PLAY_DURATION, columns.VIDEO_DURATION) and column.kind is Kind.NUMBER:
        return Kind.INTEGER.dtype  # whatever the unit in the file
    return column.kind.dtype


def empty_table(file: RawFile) -> pl.DataFrame:
    """The table that a raw file without rows becomes."""
    return pl.DataFrame(schema={name: stored_type(column) for name, column in table_columns(file).items()})


def schema_of(file: RawFile) -> "pa.DataFrameSchema":
    """The schema of the table that a raw file becomes."""
    import pandera.polars as pa

    made = {name: _pandera_column(column) for name, column in table_columns(file).items()}
    return pa.DataFrameSchema(made, name=file.table, strict=True, ordered=True, unique=list(file.key) or None)


def validate(frame: pl.DataFrame, file: RawFile) -> None:
    """Check a table, or a part of it, against its schema."""
    if is_as_promised(frame, file):
        return
    import pandera.errors

    try:
        schema_of(file).validate(frame)
    except pandera.errors.SchemaError as error:
        # Bad rows were rejected before this check, so a failure is a bug of ours.
        raise NightreelError(
            f"{file.name}: the table {file.table} is not as promised: {error}.",
            "Please report this; leaving the file's newest rows out may help until then.",
        ) from error


def is_as_promised(frame: pl.DataFrame, file: RawFile) -> bool:
    """Whether a table fits its schema, by one query."""
    promised = table_columns(file)
    types = {name: stored_type(column) for name, column in promised.items()}
    if list(frame.schema.items()) != list(types.items()):
        return False
    wrong = [one.any() for name, column in promised.items() for one in _wrong(name, column, types[name])]
    # Keys that ascend are distinct: to look for equal ones takes ten times as long, and half a gigabyte.
    if file.key and not frame.select(_ascends(file.key).all()).item():
        wrong.append(pl.struct(file.key).is_duplicated().any())
    return not wrong or not frame.select(pl.any_horizontal(wrong)).item()


def _ascends(key: Sequence[str]) -> pl.Expr:
    """For each row but the first, whether its key comes after that of the row before."""
    ascends = pl.lit(value=False)
    for name in reversed(key):
        value, before = pl.col(name), pl.col(name).shift(1)
        ascends = (value > before) | ((value == before) & ascends)
    return ascends.fill_null(value=False).slice(1)


def _wrong(name: str, column: RawColumn, stored: pl.DataType) -> Iterator[pl.Expr]:
    """For each rule of a column, whether a row breaks it; null for a missing value."""
    value = pl.col(name)
    if not column.nullable:
        yield value.is_null()
    if column.at_least is not None:
        yield value < column.at_least
    if stored.is_float():
        yield ~value.is_finite()


def _pandera_column(column: RawColumn) -> "pa.Column":
    import pandera.polars as pa

    stored = stored_type(column)
    checks = [] if column.at_least is None else [pa.Check.ge(column.at_least)]
    if stored.is_float():
        checks.append(pa.Check(_finite, name="finite"))
    return pa.Column(stored, checks, nullable=column.nullable)


def _finite(data: "pa.PolarsData") -> pl.LazyFrame:
    return data.lazyframe.select(pl.col(data.key).is_finite())
