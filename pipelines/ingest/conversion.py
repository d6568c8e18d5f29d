"""Turns a raw file's text columns into typed ones; a row with a bad value is rejected, with the reason."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from nightreel.core.clock import UNIX_PER_SECOND, UNIX_UNITS
from pipelines.ingest.decimals import ADVICE, IN_COMMAS, with_points
from pipelines.ingest.ids import HomeIds
from pipelines.ingest.local_times import naive_times
from pipelines.ingest.numbers import IN_EXPONENTS, floats, is_inexact, is_whole, seconds, whole_numbers
from pipelines.ingest.raw_columns import Kind, RawColumn, RawFile
from pipelines.ingest.raw_files import LOCAL_TIME
from pipelines.ingest.reasons import NO_NUMBER, NO_VALUE, OUT_OF_RANGE, only_where, reason_where
from pipelines.ingest.reject_columns import LINE, RAW, REASON, REJECT_SCHEMA

# The longest id that the indexes of both databases can hold.
ID_BYTES_MAX = 500
# JSON lines may have an object, such as {"$oid": "5f..."}: its value is the id.
_OBJECT = r'^\{(".*":.*)?\}$'
# Lower bounds of Unix times that cannot be seconds, by the unit that they must be in.
_FINER_UNITS = {unit: least for unit, least in UNIX_UNITS.items() if unit != "seconds"}


@dataclass(frozen=True)
class Converted:
    """The rows of a batch after typing.

    Attributes:
        typed: the good rows with their `line`.
        rejects: line, reason and raw text of the others.
    """

    typed: pl.DataFrame
    rejects: pl.DataFrame


def convert(
    rows: pl.DataFrame,
    file: RawFile,
    names: list[str],
    latest: datetime,
    time_format: str,
    *,
    ids: HomeIds,
    in_commas: Collection[str] = (),
) -> Converted:
    """Type the rows of a batch.

    Args:
        rows: text columns and `line`.
        file: with only the columns that the header names.
        names: the header, for the raw text of rejected rows.
        latest: in the business time zone; later instants and days are rejected.
        time_format: of the times; for Unix times their unit.
        ids: says which ids are text, and gives their codes.
    """
    typed = [rows[LINE]]
    reasons: list[pl.Series] = []
    for column in _as_ids_are(file.columns, ids):
        text = _with_nulls(rows[column.name], column)
        number = with_points(text) if column.name in in_commas else text
        values = _parsed(number, column, latest, time_format)
        typed.append(values)
        reasons += _reasons(column, text, values, time_format)
    if not reasons:
        return Converted(_with_codes(pl.DataFrame(typed), file, ids), pl.DataFrame(schema=REJECT_SCHEMA))
    reason = pl.select(pl.coalesce(reasons).alias(REASON)).to_series()
    rejects = rows.with_columns(reason).filter(reason.is_not_null()).select(LINE, REASON, raw_text(names))
    return Converted(_with_codes(pl.DataFrame(typed).filter(reason.is_null()), file, ids), rejects)


def _as_ids_are(known: Iterable[RawColumn], ids: HomeIds) -> Iterator[RawColumn]:
    """The columns, with ids that are text declared as text."""
    for column in known:
        if not ids.is_text(column.name):
            yield column
        else:
            yield replace(column, kind=Kind.TEXTS if column.kind is Kind.INTEGERS else Kind.ID)


def _with_codes(rows: pl.DataFrame, file: RawFile, ids: HomeIds) -> pl.DataFrame:
    """The rows with codes instead of ids that are text. Only good rows' ids get one."""
    for column in file.columns:
        if not ids.is_text(column.name):
            continue
        if column.kind is not Kind.INTEGERS:
            rows = rows.with_columns(ids.codes(column.name, rows[column.name]))
            continue
        lists = rows.select(LINE, column.name).explode(column.name, empty_as_null=True)
        codes = lists.with_columns(ids.codes(column.name, lists[column.name]))
        of_rows = codes.group_by(LINE, maintain_order=True).agg(pl.col(column.name).drop_nulls())
        rows = rows.with_columns(of_rows[column.name])
    return rows


def raw_text(names: list[str]) -> pl.Expr:
    """A row's fields as one text, `raw`, close to the line in the file."""
    return pl.concat_str(pl.col(names).fill_null(""), separator=",").alias(RAW)


def _with_nulls(text: pl.Series, column: RawColumn) -> pl.Series:
    """The text, null where a word means no value; numbers and times that can be read stay."""
    if column.kind in (Kind.TEXT, Kind.TEXTS, Kind.INTEGERS):
        text = text.str.strip_chars()
        return only_where(text, ~text.is_in([*NO_VALUE, *column.missing, ""]))
    if column.kind is Kind.ID:
        return only_where(text, ~text.is_in([*NO_VALUE, *column.missing, ""]))
    if column.missing:
        whole = text.str.strip_chars().str.replace(r"\.0*$", "")
        return only_where(text, ~whole.is_in(column.missing))
    return text


def _reasons(column: RawColumn, text: pl.Series, values: pl.Series, time_format: str) -> list[pl.Series]:
    """The reasons why values are bad, null for good ones; an empty list if all are good."""
    found = []
    unread = values.is_null() & text.is_not_null()
    if unread.any():
        # Other programs' words for a missing value are not errors if the value is optional.
        if column.kind is not Kind.ID:
            unread = unread & ~text.str.strip_chars().is_in(NO_NUMBER)
        found.append(reason_where(text, unread, column.shown, _problem(column, text, time_format)))
    if column.at_least is not None and (low := values < column.at_least).any():
        found.append(reason_where(text, low, column.shown, pl.lit(f"is below {column.at_least:g}")))
    if column.at_most is not None and (high := values > column.at_most).any():
        found.append(reason_where(text, high, column.shown, pl.lit(f"is above {column.at_most:g}")))
    if column.among and (other := values.is_not_null() & ~values.is_in(column.among)).any():
        known = ", ".join(column.among)
        found.append(
            reason_where(text, other, column.shown, pl.lit(f"is none of {known}, which have a weight"))
        )
    if not column.nullable and (missing := values.is_null() & ~unread).any():
        words = pl.lit(f"column {column.shown}: no value")
        found.append(pl.select(pl.when(missing).then(words)).to_series())
    return found


def _problem(column: RawColumn, text: pl.Series, time_format: str) -> pl.Expr:
    """What is wrong with each text that is not of the column's kind."""
    kind, out_of_range = column.kind, OUT_OF_RANGE.format(column.earliest)
    words = pl.lit(f"is not {kind.value}")
    if kind in (Kind.NUMBER, Kind.INTEGER):
        words = (
            pl.when(text.str.contains(IN_COMMAS))
            .then(pl.lit(f"is not {kind.value}{ADVICE}"))
            .otherwise(words)
        )
    if kind in (Kind.KEY, Kind.COUNT):
        words = pl.when(is_whole(text)).then(pl.lit("is larger than 64 bits")).otherwise(words)
    if kind in (Kind.KEY, Kind.COUNT, Kind.INTEGER):
        return pl.when(is_inexact(text)).then(pl.lit(IN_EXPONENTS)).otherwise(words)
    if kind is Kind.ID:
        return (
            pl.when(text.str.strip_chars() != text)
            .then(pl.lit("begins or ends with a space"))
            .when(text.str.contains(_OBJECT))
            .then(pl.lit("is a JSON object, not an id"))
            .when(text.str.len_bytes() > ID_BYTES_MAX)
            .then(pl.lit(f"is longer than {ID_BYTES_MAX} bytes"))
            .otherwise(pl.lit("holds a control character"))
        )
    if kind is Kind.DAY:
        return pl.when(_any_day(text).is_not_null()).then(pl.lit(out_of_range)).otherwise(words)
    if kind is Kind.SECONDS and time_format in _FINER_UNITS:
        return pl.lit(f"is not Unix {time_format}, as the others are, of a day up to now")
    if kind is Kind.SECONDS:
        number = floats(text)
        return pl.coalesce(
            pl.when(is_inexact(text)).then(pl.lit(IN_EXPONENTS)),
            *(
                pl.when(number.is_between(least, least * 1e3)).then(pl.lit(f"is not {kind.value} but {unit}"))
                for unit, least in _FINER_UNITS.items()
            ),
            pl.when(number.is_finite()).then(pl.lit(f"is not {kind.value}: it {out_of_range}")),
            pl.when(naive_times(text.str.strip_chars()).is_not_null()).then(
                pl.lit(f"is not {kind.value} but a local time: put it in column {LOCAL_TIME}")
            ),
            words,
        )
    return words


def _parsed(text: pl.Series, column: RawColumn, latest: datetime, time_format: str) -> pl.Series:
    kind = column.kind
    if kind is Kind.SECONDS:
        return seconds(text, latest, UNIX_PER_SECOND.get(time_format, 1))
    if kind is Kind.DAY:
        days = _any_day(text)
        return only_where(days, days.is_between(column.earliest, latest.date()))
    values: pl.Series = _PARSERS[kind](text)
    return values


def _any_day(text: pl.Series) -> pl.Series:
    digits = text.str.strip_chars().str.replace(r"\.0*$", "")
    digits = digits.str.replace(r"^(\d{4})-(\d{2})-(\d{2})(?:[T ]\d{2}:\d{2}.*)?$", "$1$2$3")
    return digits.str.to_date("%Y%m%d", strict=False)


def _numbers(text: pl.Series) -> pl.Series:
    values = floats(text).cast(pl.Float32)
    return only_where(values, values.is_finite())


def _ids(text: pl.Series) -> pl.Series:
    """Ids exactly as they are written; null if an id could not be stored and read back unchanged."""
    good = (text.str.strip_chars() == text) & (text.str.len_bytes() <= ID_BYTES_MAX)
    return only_where(text, good & ~text.str.contains(r"\p{Cc}") & ~text.str.contains(_OBJECT))


def _text_lists(text: pl.Series) -> pl.Series:
    """The text between the brackets, split at commas, without empty parts; null without brackets."""
    value = pl.col(text.name).str.strip_chars()
    inside = value.str.strip_prefix("[").str.strip_suffix("]")
    parts = inside.str.split(",").list.eval(pl.element().str.strip_chars())
    parts = parts.list.eval(pl.element().filter(pl.element() != ""))
    bracketed = value.str.starts_with("[") & value.str.ends_with("]")
    return text.to_frame().select(pl.when(bracketed).then(parts).alias(text.name)).to_series()


def _tags(text: pl.Series) -> pl.Series:
    """The text between brackets, or else split at any of the common separators, without empty parts."""
    value = pl.col(text.name).str.strip_chars().str.strip_prefix("[").str.strip_suffix("]")
    signs = (pl.when(value.str.contains(sign, literal=True)).then(value.str.split(sign)) for sign in "|;,")
    parts = pl.coalesce(*signs, pl.concat_list(value)).list.eval(pl.element().str.strip_chars(" \"'"))
    parts = parts.list.eval(pl.element().filter(pl.element() != ""))
    return text.to_frame().select(pl.when(value.is_not_null()).then(parts).alias(text.name)).to_series()


def _integer_lists(text: pl.Series) -> pl.Series:
    parts = _text_lists(text)
    numbers = parts.cast(pl.List(pl.Int64), strict=False)
    unread = numbers.list.eval(pl.element().is_null()).list.any()
    return only_where(numbers, ~unread.fill_null(value=True))


_PARSERS = {
    Kind.KEY: lambda text: whole_numbers(text, Kind.KEY.dtype),
    Kind.INTEGER: lambda text: whole_numbers(text, Kind.INTEGER.dtype),
    Kind.COUNT: lambda text: whole_numbers(text, Kind.COUNT.dtype),
    Kind.NUMBER: _numbers,
    Kind.TEXT: lambda text: text,
    Kind.ID: _ids,
    Kind.LOCAL_TIME: lambda text: text,
    Kind.INTEGERS: _integer_lists,
    Kind.TEXTS: _text_lists,
    Kind.TAGS: _tags,
}
