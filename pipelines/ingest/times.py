"""Recognises how a file writes its times, from its first rows, and asks if they are ambiguous."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from nightreel.core.clock import UNIX_UNITS
from nightreel.core.errors import InputError
from pipelines.ingest.time_texts import is_other_iso

AUTO, ISO, DAY_FIRST, MONTH_FIRST, SECONDS = "auto", "iso", "day_first", "month_first", "seconds"
DAY = "day"
UNITS = tuple(UNIX_UNITS)
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")
# As a Unix time, such a number would be in August 1970.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_PARTS = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-]\d{4}\b")
_DAYS = r"^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})[T ]?(.*)$"
_MONTHS_MAX = 12
_SHOWN = {
    ISO: "ISO 8601",
    DAY: "days, a play at the beginning of its day",
    DAY_FIRST: "day/month/year",
    MONTH_FIRST: "month/day/year",
    **{unit: f"Unix {unit}" for unit in UNITS},
}


def recognised(values: Sequence[str], usual: str, path: Path, column: str) -> str:
    """The format of most of a column's times, or `usual` if at least half have that.

    Raises:
        InputError: if several formats are possible; the message names the setting that decides.
    """
    texts = [value.strip() for value in values if value.strip()]
    formats = [found for text in texts if (found := _format(text)) is not None]
    days = [match for text in texts if (match := _PARTS.match(text))]
    if len(days) * 2 > len(texts):
        return _order_of_days(days, path, column)
    if not formats:
        return usual
    counts = Counter(formats)
    best, count = counts.most_common(1)[0]
    if counts[usual] * 2 >= len(formats):
        return usual
    if count * 2 > len(formats):
        return best
    found = " and ".join(_SHOWN[one] for one, _ in counts.most_common(2))
    raise InputError(
        f"{path}, column {column}: are these times {found}? Some look like the one, some like the other.",
        f'Set [data.format] time = "{best}" or the other one; rows written differently are rejected.',
    )


def shown(time_format: str) -> str:
    """A format's name in messages."""
    return _SHOWN[time_format]


def as_iso(text: pl.Series, time_format: str) -> pl.Series:
    """Times that begin with day or month, rewritten as ISO 8601; all others as they are."""
    if time_format == DAY:
        return text.str.replace(r"^(\d{4})-?(\d{2})-?(\d{2})$", "${1}-${2}-${3} 00:00:00")
    if time_format not in (DAY_FIRST, MONTH_FIRST):
        return text
    groups = text.str.extract_groups(_DAYS)
    first, second, year, rest = (groups.struct.field(str(at)) for at in range(1, 5))
    day, month = (first, second) if time_format == DAY_FIRST else (second, first)
    rest = rest.str.replace(r"^(\d):", "0$1:").str.replace("^$", "00:00:00")
    parts = pl.concat_str(
        year, pl.lit("-"), month.str.zfill(2), pl.lit("-"), day.str.zfill(2), pl.lit(" "), rest
    )
    return pl.select(pl.coalesce(parts, text).alias(text.name)).to_series()


def is_day(text: str) -> bool:
    """Whether a text is a day without a time, like 2020-07-05 or 20200705."""
    return _DAY.fullmatch(text) is not None


def _format(text: str) -> str | None:
    if _ISO.match(text) or is_other_iso(text):
        return ISO
    if is_day(text):
        return DAY
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return next((unit for unit, least in UNIX_UNITS.items() if number >= least), None)


def _order_of_days(days: Sequence["re.Match[str]"], path: Path, column: str) -> str:
    first = any(int(match[1]) > _MONTHS_MAX for match in days)
    second = any(int(match[2]) > _MONTHS_MAX for match in days)
    if first != second:
        return DAY_FIRST if first else MONTH_FIRST
    raise InputError(
        f'{path}, column {column}: is "{days[0].string}" day or month first? The first rows do not say.',
        f'Set [data.format] time = "{DAY_FIRST}" or "{MONTH_FIRST}".',
    )
