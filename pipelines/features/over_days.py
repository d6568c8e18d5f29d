"""Aggregations over days that have ended: what the catalogue's expressions become, stamped by the machine.

An expression sees only rows of local days that ended by the stamp, so none can see the
future. A value is written for each day's end at which the rows that it is made of change: a day with rows
came in, or one left the window.
"""

import math
from datetime import date
from itertools import groupby
from zoneinfo import ZoneInfo

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue import Feature, View
from pipelines.features.expression_values import evaluated
from pipelines.features.points import POINT, VISIBLE, Points, is_whole
from pipelines.local_days import INSTANT, days_after, starts_of_dates

_NUMBER_MAX = 2**62


def visible_from(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """The local day after that of each instant: the first on which its row may be seen."""
    return days_after(instants, zone).alias(VISIBLE)


def over_days(rows: pl.DataFrame, view: View, zone: ZoneInfo) -> pl.DataFrame:
    """The source of a view whose features have expressions: keys, event_timestamp, features; sorted.

    Args:
        rows: the view's keys, VISIBLE and the columns that its expressions read, in order of time; rows
            without a key are ignored.

    Raises:
        InputError: for an expression that cannot be evaluated, or that gives several values.
    """
    keys = list(view.join_keys)
    known = rows.drop_nulls([*keys, VISIBLE])
    if known.is_empty():
        return without_rows(view)
    daily = _daily(known, keys, _fast(view), view)
    points, found = _combined(daily, view)
    slow = [one for one in view.features if one not in _fast(view)]
    if slow:
        ordered = known.sort(*keys, VISIBLE, maintain_order=True)
        for days, features in groupby(slow, key=lambda feature: feature.days):
            found = found.with_columns(points.aggregated(ordered, list(features), days, view))
    return _stamped(found, view, zone)


def is_of_single_days(view: View) -> bool:
    """Whether every feature is combined from a value per key and day: the rows of a day are read once."""
    return len(_fast(view)) == len(view.features)


def values_of_days(rows: pl.DataFrame, view: View) -> pl.DataFrame:
    """The values of single days of a view that has no others: keys, VISIBLE, features; sorted.

    Args:
        rows: as for `over_days`, of some whole days.

    Returns:
        What is summed over days is int64, unless it is no whole number, which `from_values_of_days` refuses.
    """
    values = _daily(rows.drop_nulls([*view.join_keys, VISIBLE]), list(view.join_keys), _fast(view), view)
    sums = [one.name for one in view.features if one.combine == "sum" and is_whole(values[one.name].dtype)]
    return values.with_columns(pl.col(name).to_physical().cast(pl.Int64) for name in sums)


def so_far(values: pl.DataFrame, view: View, until: date) -> pl.DataFrame:
    """What the values of days come to: a row for each key, with VISIBLE = `until`, sorted by the keys.

    It stands for all the days up to `until` in `from_values_of_days`, for rows a window later and more: it
    says nothing of a window's values, which are 0.

    Args:
        values: as `values_of_days` gives them; those that become visible later do not count.
    """
    combined = {"sum": pl.Expr.sum, "max": pl.Expr.max, "min": pl.Expr.min}
    known = values.filter(pl.col(VISIBLE) <= until).group_by(view.join_keys)
    totals = [
        pl.lit(0, dtype=pl.Int64).alias(one.name)
        if one.days is not None
        else combined[str(one.combine)](pl.col(one.name))
        for one in view.features
    ]
    found = known.agg(totals).sort(view.join_keys).with_columns(pl.lit(until, dtype=pl.Date).alias(VISIBLE))
    return found.select(values.columns)


def longest_window_days(view: View) -> int:
    """The number of days of the longest window of its features; 0 if all of them are of all days so far."""
    return max((one.days for one in view.features if one.days is not None), default=0)


def from_values_of_days(values: pl.DataFrame, view: View, zone: ZoneInfo) -> pl.DataFrame:
    """What `over_days` gives, from the values of all days, sorted by keys and VISIBLE."""
    return without_rows(view) if values.is_empty() else _stamped(_combined(values, view)[1], view, zone)


def _fast(view: View) -> list[Feature]:
    return [one for one in view.features if one.combine == "sum" or (one.combine and one.days is None)]


def _combined(daily: pl.DataFrame, view: View) -> tuple[Points, pl.DataFrame]:
    points = Points.of(daily, list(view.join_keys), {feature.days for feature in view.features})
    found = points.keys
    for days, features in groupby(_fast(view), key=lambda feature: feature.days):
        found = found.with_columns(points.combined(daily, list(features), days, view))
    return points, found


def _stamped(found: pl.DataFrame, view: View, zone: ZoneInfo) -> pl.DataFrame:
    stamps = starts_of_dates(found[VISIBLE], zone).alias(columns.EVENT_TIMESTAMP)
    return _changes(view.conformed(found.with_columns(stamps)), list(view.join_keys))


def without_rows(view: View) -> pl.DataFrame:
    """A source of the view without rows."""
    types: dict[str, pl.DataType] = dict.fromkeys(view.join_keys, pl.Int64())
    types |= {columns.EVENT_TIMESTAMP: INSTANT}
    return pl.DataFrame(schema=types | {feature.name: feature.dtype for feature in view.features})


def _daily(rows: pl.DataFrame, keys: list[str], features: list[Feature], view: View) -> pl.DataFrame:
    """The values of single days: a row per key and day with rows, sorted by both.

    If keys and day fit into one number, grouping and sorting by it takes a fraction of the time.
    """
    parts = [*keys, VISIBLE]
    if rows.is_empty():
        return evaluated(rows.group_by(parts), features, view)
    bounds = rows.select(
        *(pl.col(name).to_physical().min().cast(pl.Int64).alias(f"{name}_low") for name in parts),
        *(pl.col(name).to_physical().max().cast(pl.Int64).alias(f"{name}_high") for name in parts),
    ).row(0, named=True)
    widths = [bounds[f"{name}_high"] - bounds[f"{name}_low"] + 1 for name in parts]
    if math.prod(widths) > _NUMBER_MAX:
        return evaluated(rows.group_by(parts), features, view).sort(parts)
    number = pl.lit(0, dtype=pl.Int64)
    for name, width in zip(parts, widths, strict=True):
        own = pl.col(name).to_physical().cast(pl.Int64) - bounds[f"{name}_low"]
        number = number * width + own
    grouped = rows.with_columns(number.alias(POINT)).group_by(POINT)
    daily = evaluated(grouped, features, view).sort(POINT)
    rest = pl.col(POINT)
    found = []
    for name, width in zip(reversed(parts), reversed(widths), strict=True):
        own = rest % width + bounds[f"{name}_low"]
        physical = pl.Int32() if rows.schema[name] == pl.Date else pl.Int64()
        found.append(own.cast(physical).cast(rows.schema[name]).alias(name))
        rest = rest // width
    return daily.select(*reversed(found), *(feature.name for feature in features))


def _changes(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The frame without rows that repeat the key's previous one."""
    features = [name for name in frame.columns if name not in (*keys, columns.EVENT_TIMESTAMP)]
    differs = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in (*keys, *features)]
    return frame.filter(pl.any_horizontal(*differs) | (pl.int_range(pl.len()) == 0))
