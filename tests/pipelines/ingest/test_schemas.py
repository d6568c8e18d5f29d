"""A table that is not as promised is never written: one query finds what Pandera's schema finds."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pandera.errors
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import NightreelError
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import RAW_FILES
from pipelines.ingest.schemas import is_as_promised, schema_of, stored_type, table_columns, validate

VALUES: dict[Any, Any] = {
    pl.Int64: 3,
    pl.Int32: 3,
    pl.Float32: 0.5,
    pl.String: "a",
    pl.Date: date(2020, 7, 5),
    pl.Datetime: datetime(2020, 7, 5, tzinfo=UTC),
    pl.List: [],
}


def _smaller(file: RawFile) -> RawFile:
    """With its key and one of the columns of the same kind; Pandera takes long for each."""
    keys = {columns.USER_ID, columns.VIDEO_ID, *file.key}
    alike = {(one.kind, one.nullable, one.at_least): one.name for one in file.columns}
    names = {*alike.values(), *keys}
    return replace(file, columns=tuple(one for one in file.columns if one.name in names))


def _frame(file: RawFile, rows: int = 2) -> pl.DataFrame:
    """Rows as promised, each with a key of its own."""
    types = {name: stored_type(column) for name, column in table_columns(file).items()}
    frame = pl.DataFrame({name: [VALUES[kind.base_type()]] * rows for name, kind in types.items()}, types)
    return frame.with_columns(pl.int_range(rows, dtype=types[name]).alias(name) for name in file.key[:1])


def _spoilt(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Frames that differ in one respect from what is promised."""
    first = pl.int_range(pl.len()) == 0
    found = {
        "as it was": frame,
        "empty": frame.clear(),
        "another column": frame.with_columns(pl.lit(1).alias("more")),
        "a column less": frame[:, :-1],
        "another order": frame.select(reversed(frame.columns)),
        "rows twice": pl.concat([frame, frame]),
        "rows twice, side by side": frame.gather([*range(frame.height), frame.height - 1]),
        "the other way round": frame.reverse(),
    }
    for name, kind in frame.schema.items():
        put: dict[str, float | None] = {"no value": None}
        if kind.is_numeric():
            put["below 0"] = -1
        if kind.is_float():
            put |= {"nan": float("nan"), "infinite": float("inf")}
        for what, value in put.items():
            other = pl.when(first).then(pl.lit(value, dtype=kind)).otherwise(pl.col(name)).alias(name)
            found[f"{name}: {what}"] = frame.with_columns(other)
        if kind == pl.Int32:
            found[f"{name}: another type"] = frame.with_columns(pl.col(name).cast(pl.Int64))
    return found


@pytest.mark.parametrize("file", RAW_FILES, ids=lambda file: file.name)
def test_the_query_finds_what_the_schema_finds(file: RawFile) -> None:
    file = _smaller(file)
    schema = schema_of(file)
    verdicts = set()
    for what, frame in _spoilt(_frame(file)).items():
        try:
            schema.validate(frame)
            holds = True
        except pandera.errors.SchemaError:
            holds = False
        assert is_as_promised(frame, file) == holds, what
        verdicts.add(holds)
    assert verdicts == {True, False}


def test_what_is_wrong_is_said_with_file_table_and_column() -> None:
    (file,) = (file for file in RAW_FILES if file.name == columns.BIG_MATRIX_FILE)
    frame = _frame(file)
    validate(frame, file)
    spoilt = frame.with_columns(pl.lit(float("nan"), dtype=pl.Float32).alias(columns.WATCH_RATIO))
    with pytest.raises(NightreelError, match=r"big_matrix\.csv: the table interactions .*watch_ratio"):
        validate(spoilt, file)
