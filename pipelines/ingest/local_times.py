"""Converts texts of local times to UTC instants, with a reason for each that is none."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core.clock import UNIX_UNITS
from pipelines.ingest.numbers import floats
from pipelines.ingest.raw_columns import FIRST_DAY, Kind
from pipelines.ingest.raw_files import TIMESTAMP
from pipelines.ingest.reasons import NO_NUMBER, OUT_OF_RANGE, only_where, reason_where
from pipelines.ingest.time_texts import rewritten
from pipelines.ingest.times import DAY, ISO, as_iso

_ZONED = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s?([zZ]|[+-]\d{2}(?::?\d{2})?)$"


@dataclass(frozen=True)
class LocalTimes:
    """Instants of a column of local times.

    Attributes:
        instants: UTC, null where a text is not an instant.
        reasons: why it is not, else null.
    """

    instants: pl.Series
    reasons: pl.Series


def local_times(text: pl.Series, zone: ZoneInfo, latest: datetime, time_format: str = ISO) -> LocalTimes:
    """Local times like 2020-07-05 00:08:23.438 as UTC instants; a zone in the text overrides `zone`."""
    text = text.str.strip_chars()
    text = only_where(text, ~text.is_in(NO_NUMBER))
    found = _local_times(text, zone, latest, time_format)
    unread = text.is_not_null() & found.instants.is_null()
    if not unread.any():
        return found
    other = _local_times(rewritten(only_where(text, unread)), zone, latest, time_format)
    return LocalTimes(
        found.instants.zip_with(found.instants.is_not_null(), other.instants),
        only_where(found.reasons, other.instants.is_null()),
    )


def _local_times(text: pl.Series, zone: ZoneInfo, latest: datetime, time_format: str) -> LocalTimes:
    offset = text.str.extract(_ZONED, 1)
    if offset.null_count() == len(offset):
        return _without_zone(text, zone, latest, time_format)
    zoned = _zoned(text, offset)
    first = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    instants = only_where(zoned, zoned.is_between(first, latest.astimezone(UTC)))
    without = _without_zone(only_where(text, zoned.is_null()), zone, latest, time_format)
    beyond = zoned.is_not_null() & instants.is_null()
    said = reason_where(text, beyond, text.name, pl.lit(OUT_OF_RANGE.format(FIRST_DAY)))
    return LocalTimes(
        instants.zip_with(zoned.is_not_null(), without.instants),
        said.zip_with(beyond, without.reasons),
    )


def _without_zone(text: pl.Series, zone: ZoneInfo, latest: datetime, time_format: str) -> LocalTimes:
    naive = naive_times(as_iso(text, time_format))
    # A sentinel like 0001-01-01 or 9999-12-31 may have no instant at all.
    in_range = naive.is_between(datetime.combine(FIRST_DAY, datetime.min.time()), latest.replace(tzinfo=None))
    local = _local(only_where(naive, in_range), zone)
    if time_format == DAY and local.null_count() > in_range.not_().sum():
        # A day may begin at one, where clocks go forward at midnight.
        at_one = _local(only_where(naive, in_range).dt.offset_by("1h"), zone)
        local = local.zip_with(local.is_not_null(), at_one)
    instants = local.dt.convert_time_zone("UTC")
    problem = (
        pl.when(naive.is_null())
        .then(_no_local_time(text))
        .when(~in_range)
        .then(pl.lit(OUT_OF_RANGE.format(FIRST_DAY)))
        .otherwise(pl.lit(f"does not exist in {zone.key}, where clocks went forward"))
    )
    return LocalTimes(
        instants, reason_where(text, text.is_not_null() & instants.is_null(), text.name, problem)
    )


def _local(naive: pl.Series, zone: ZoneInfo) -> pl.Series:
    return naive.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")


def _zoned(text: pl.Series, offset: pl.Series) -> pl.Series:
    """The instants of ISO 8601 times with a zone, null where there is none."""
    sign = pl.when(offset.str.starts_with("-")).then(-1).otherwise(1)
    digits = offset.str.replace_all(r"[^0-9]", "").str.pad_end(4, "0")
    hours, minutes = (digits.str.slice(at, 2).cast(pl.Int64, strict=False).fill_null(0) for at in (0, 2))
    ahead = pl.select(pl.duration(minutes=sign * (hours * 60 + minutes))).to_series()
    body = naive_times(text.str.replace(r"\s?(?:[zZ]|[+-]\d{2}(?::?\d{2})?)$", ""))
    return (only_where(body, offset.is_not_null()) - ahead).dt.replace_time_zone("UTC")


def naive_times(text: pl.Series) -> pl.Series:
    """Texts without a zone as naive instants; null if a text is none."""
    text = text.str.replace("T", " ", literal=True).str.replace(r"(:\d{2}),(\d+)$", "${1}.${2}")
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2} \d{2}:\d{2})$", "$1:00")
    return text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)


def _no_local_time(text: pl.Series) -> pl.Expr:
    """What is wrong with each text that is not a local time: a Unix time is in the wrong column."""
    number = floats(text)
    words = pl.lit(f"is not {Kind.LOCAL_TIME.value}")
    for unit, least in reversed(UNIX_UNITS.items()):
        advice = "" if unit == "seconds" else ", as seconds"
        said = f"is not a local time but Unix {unit}: put them in column {TIMESTAMP}{advice}"
        words = pl.when((number >= least) & number.is_finite()).then(pl.lit(said)).otherwise(words)
    return words
