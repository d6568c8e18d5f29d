"""Reads integers and Unix times without rounding, and refuses numbers that may have been rounded before.

A float holds 53 bits, an id has 64. And a spreadsheet writes 9900000000000123 as 9.9E+15: ten ids become one.
So a number in exponent notation is read only where every one of its digits is written.
"""

from datetime import datetime

import polars as pl

from nightreel.core.instants import SECOND_US
from pipelines.ingest.raw_columns import FIRST_DAY
from pipelines.local_days import INSTANT

IN_EXPONENTS = "is in exponent notation and may have lost digits: write all of them"

_WHOLE = r"^[+-]?[0-9]+(\.0*)?$"
_PARTS = r"^([+-]?[0-9]+)(?:\.([0-9]*))?(?:[eE]\+?([0-9]{1,2}))?$"
_EXPONENT = r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+$"


def whole_numbers(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The integers of texts that have all their digits: 5109, +5109, 5109.0 or 5.109E3; else null."""
    values = text.cast(dtype, strict=False)
    if values.null_count() == text.null_count():
        return values
    # A column with gaps is often written as 5109.0; spaces do not matter either.
    parts = text.str.strip_chars().rename("text").to_frame().select(_whole, _fraction, _exponent)
    shown = pl.col("fraction").str.slice(0, pl.col("exponent"))
    rest = pl.col("fraction").str.slice(pl.col("exponent"))
    exact = (shown.str.len_chars() == pl.col("exponent")) & rest.str.contains("^0*$")
    digits = parts.select(pl.when(exact).then(pl.concat_str("whole", shown)).alias(text.name)).to_series()
    return values.zip_with(values.is_not_null(), digits.cast(dtype, strict=False))


_groups = pl.col("text").str.extract_groups(_PARTS)
_whole = _groups.struct[0].alias("whole")
_fraction = _groups.struct[1].fill_null("").alias("fraction")
_exponent = _groups.struct[2].fill_null("0").cast(pl.UInt32).alias("exponent")


def is_whole(text: pl.Series) -> pl.Series:
    """Whether the text is a whole number, of any size."""
    return text.str.strip_chars().str.contains(_WHOLE)


def is_inexact(text: pl.Series) -> pl.Series:
    """Whether a number is written with an exponent, and not with all of its digits."""
    stripped = text.str.strip_chars()
    return stripped.str.contains(_EXPONENT) & whole_numbers(text, pl.Int64()).is_null()


def floats(text: pl.Series) -> pl.Series:
    """The numbers as float64, null where there is none; spaces around them do not matter."""
    values = text.cast(pl.Float64, strict=False)
    if values.null_count() == text.null_count():
        return values
    return text.str.strip_chars().cast(pl.Float64, strict=False)


def seconds(text: pl.Series, latest: datetime, per_second: float = 1) -> pl.Series:
    """Unix times as instants, null where they are before the first day or after `latest`.

    With an exponent, only where all digits are written to the second: 1.59E+09 may be any second of months.

    Args:
        per_second: how many units make a second: 1, or 1000 for milliseconds.
    """
    number = floats(text) / per_second
    first = (FIRST_DAY - FIRST_DAY.replace(day=1)).total_seconds()
    values = pl.select(pl.when(number.is_between(first, latest.timestamp())).then(number)).to_series()
    marked = text.str.contains("[eE]")
    if marked.any():
        scale = text.str.extract(r"[eE]\+?(\d{1,2})\s*$", 1).cast(pl.Int64, strict=False)
        fraction = text.str.extract(r"\.(\d*)[eE]", 1).fill_null("").str.len_chars()
        exact = ~marked | (fraction >= scale).fill_null(value=False)
        values = pl.select(pl.when(exact).then(values)).to_series()
    return (values * SECOND_US).round().cast(pl.Int64).cast(INSTANT).alias(text.name)
