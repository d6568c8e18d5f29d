"""Turns a raw file's text columns into typed ones; a row with a bad value is set apart, with the reason."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import polars as pl

from pipelines.ingest.csv_reading import LINE, RAW, REASON, REJECT_SCHEMA
from pipelines.ingest.raw_files import Kind, RawColumn, RawFile

# What other programs write where there is no number.
_NO_NUMBER = ("NULL", "null", "NaN", "nan", "None", "NA", "<NA>", "\\N")
_EXACT_MAX = 2.0**53
_SECOND_US = 1_000_000
_SECONDS_MIN, _SECONDS_MAX = 946_684_800.0, 4_102_444_800.0  # the years 2000 and 2100
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Converted:
    """typed: the good rows and their `line`. rejects: line, reason, raw of the others."""

    typed: pl.DataFrame
    rejects: pl.DataFrame


def convert(rows: pl.DataFrame, file: RawFile, names: list[str]) -> Converted:
    """Type the rows of a batch.

    rows: text columns and `line`. file: with only the columns that are there. names: the header, for the raw
    text of rejected rows.
    """
    typed = [rows[LINE]]
    reasons: list[pl.Series] = []
    for column in file.columns:
        text = rows[column.name]
        if column.missing:
            text = _only(text, ~text.is_in(column.missing))
        values = _PARSERS[column.kind](text)
        typed.append(values)
        reasons += _reasons(column, text, values)
    if not reasons:
        return Converted(pl.DataFrame(typed), pl.DataFrame(schema=REJECT_SCHEMA))
    reason = pl.select(pl.coalesce(reasons).alias(REASON)).to_series()
    rejects = rows.with_columns(reason).filter(reason.is_not_null()).select(LINE, REASON, raw_text(names))
    return Converted(pl.DataFrame(typed).filter(reason.is_null()), rejects)


def local_times(text: pl.Series, zone: ZoneInfo) -> pl.Series:
    """Local times like 2020-07-05 00:08:23.438 as instants; null where none is told or DST leaves it out."""
    naive = text.str.replace("T", " ", literal=True).str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False
    )
    local = naive.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")


def raw_text(names: list[str]) -> pl.Expr:
    """A row's fields as one text, `raw`, near to how they stood in the file."""
    return pl.concat_str(pl.col(names).fill_null(""), separator=",").alias(RAW)


def _reasons(column: RawColumn, text: pl.Series, values: pl.Series) -> list[pl.Series]:
    """Why rows' values are bad, null where they are not; no series at all where all are good."""
    found = []
    unread = values.is_null() & text.is_not_null()
    if unread.any():
        # Other programs' words for nothing are no errors where nothing is allowed.
        unread = unread & ~text.str.strip_chars().is_in([*_NO_NUMBER, ""])
        found.append(_said(text, unread, column, f"is not {column.kind.value}"))
    if column.at_least is not None and (low := values < column.at_least).any():
        found.append(_said(text, low, column, f"is below {column.at_least:g}"))
    if not column.nullable and (missing := values.is_null() & ~unread).any():
        words = pl.lit(f"column {column.name}: no value")
        found.append(pl.select(pl.when(missing).then(words)).to_series())
    return found


def _said(text: pl.Series, flags: pl.Series, column: RawColumn, problem: str) -> pl.Series:
    shown = text.str.slice(0, _SHOWN_CHARACTERS).str.replace_all(r"\s", " ")
    words = pl.format(f'column {column.name}: "{{}}" {problem}', shown)
    return pl.select(pl.when(flags).then(words)).to_series()


def _only(values: pl.Series, keep: pl.Series) -> pl.Series:
    """The values where `keep` is true, null elsewhere."""
    return pl.select(pl.when(keep).then(values).alias(values.name)).to_series()


def _whole_numbers(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    values = text.cast(dtype, strict=False)
    if values.null_count() == text.null_count():
        return values
    # A column with gaps is often written as 5109.0; spaces do not matter either.
    floats = text.str.strip_chars().cast(pl.Float64, strict=False)
    whole = _only(floats, (floats == floats.round()) & (floats.abs() < _EXACT_MAX))
    return values.zip_with(values.is_not_null(), whole.cast(dtype, strict=False))


def _floats(text: pl.Series) -> pl.Series:
    values = text.cast(pl.Float64, strict=False)
    return (
        values
        if values.null_count() == text.null_count()
        else text.str.strip_chars().cast(pl.Float64, strict=False)
    )


def _numbers(text: pl.Series) -> pl.Series:
    values = _floats(text).cast(pl.Float32)
    return _only(values, values.is_finite())


def _days(text: pl.Series) -> pl.Series:
    digits = text.str.strip_chars().str.replace(r"\.0$", "").str.replace_all("-", "", literal=True)
    return digits.str.to_date("%Y%m%d", strict=False)


def _seconds(text: pl.Series) -> pl.Series:
    seconds = _floats(text)
    seconds = _only(seconds, seconds.is_between(_SECONDS_MIN, _SECONDS_MAX))
    return (seconds * _SECOND_US).round().cast(pl.Int64).cast(Kind.SECONDS.dtype)


def _texts(text: pl.Series) -> pl.Series:
    stripped = text.str.strip_chars()
    return _only(stripped, stripped != "")


def _text_lists(text: pl.Series) -> pl.Series:
    """What stands between the brackets, split at commas, without empty parts; null without brackets."""
    value = pl.col(text.name).str.strip_chars()
    inside = value.str.strip_prefix("[").str.strip_suffix("]")
    parts = inside.str.split(",").list.eval(pl.element().str.strip_chars())
    parts = parts.list.eval(pl.element().filter(pl.element() != ""))
    bracketed = value.str.starts_with("[") & value.str.ends_with("]")
    return text.to_frame().select(pl.when(bracketed).then(parts).alias(text.name)).to_series()


def _integer_lists(text: pl.Series) -> pl.Series:
    parts = _text_lists(text)
    numbers = parts.cast(pl.List(pl.Int64), strict=False)
    unread = numbers.list.eval(pl.element().is_null()).list.any()
    return _only(numbers, ~unread.fill_null(value=True))


_PARSERS = {
    Kind.KEY: lambda text: _whole_numbers(text, Kind.KEY.dtype),
    Kind.INTEGER: lambda text: _whole_numbers(text, Kind.INTEGER.dtype),
    Kind.COUNT: lambda text: _whole_numbers(text, Kind.COUNT.dtype),
    Kind.NUMBER: _numbers,
    Kind.TEXT: _texts,
    Kind.DAY: _days,
    Kind.SECONDS: _seconds,
    Kind.LOCAL_TIME: lambda text: text,
    Kind.INTEGERS: _integer_lists,
    Kind.TEXTS: _text_lists,
}
