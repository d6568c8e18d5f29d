"""Rewrites other unambiguous notations of times as ISO 8601."""

import re

import polars as pl

_DATE, _CLOCK = r"(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", r"(?:[01]\d|2[0-3])[0-5]\d"
# As a Unix time, 20240314150926 would be after the year 2600, but 202403141509 could be in 1976.
_SIGNLESS = rf"{_DATE}(?:T{_CLOCK}(?:[0-5]\d)?|{_CLOCK}[0-5]\d)(?!\d)"
_RECOGNISED = re.compile(rf"\d{{4}}/\d{{1,2}}/\d{{1,2}}[T ]\d{{1,2}}:\d{{2}}|{_SIGNLESS}")
_END = r"([.,]\d+)?([zZ]|[+-]\d{2}:?\d{2})?$"
_TO_SECONDS = rf"^(\d{{4}})(\d{{2}})(\d{{2}})T?(\d{{2}})(\d{{2}})(\d{{2}}){_END}"
_TO_MINUTES = r"^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})([zZ]|[+-]\d{2}:?\d{2})?$"
_TWELVE_HOURS = r"^(.*[T ])(\d{1,2})(:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s?([AaPp])\.?[Mm]\.?$"


def is_other_iso(text: str) -> bool:
    """Whether a text begins with year, month and day, separated by slashes or by nothing."""
    return _RECOGNISED.match(text) is not None


def rewritten(text: pl.Series) -> pl.Series:
    """Times with slashes after the year, without separators, with AM or PM, or with UTC, as ISO 8601.

    Args:
        text: without spaces at its ends. Other forms are returned unchanged.
    """
    found = text.str.replace(r"\s?(UTC|GMT|utc|gmt)$", "Z")
    found = found.str.replace(r"^(\d{4})/(\d)/", "${1}/0${2}/")
    found = found.str.replace(r"^(\d{4}/\d{2})/(\d)\b", "${1}/0${2}")
    found = found.str.replace(r"^(\d{4})/(\d{2})/(\d{2})\b", "${1}-${2}-${3}")
    found = found.str.replace(_TO_SECONDS, "${1}-${2}-${3} ${4}:${5}:${6}${7}${8}")
    found = found.str.replace(_TO_MINUTES, "${1}-${2}-${3} ${4}:${5}${6}")
    return _of_24_hours(found)


def _of_24_hours(text: pl.Series) -> pl.Series:
    groups = text.str.extract_groups(_TWELVE_HOURS)
    day, hour, rest, half = (groups.struct.field(str(at)) for at in range(1, 5))
    of_day = hour.cast(pl.Int32, strict=False) % 12 + 12 * half.str.to_lowercase().eq("p").cast(pl.Int32)
    clock = pl.concat_str(day, of_day.cast(pl.String).str.zfill(2), rest)
    return pl.select(pl.coalesce(clock, text).alias(text.name)).to_series()
