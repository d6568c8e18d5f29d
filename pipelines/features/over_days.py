"""Aggregations over days that have ended: what the catalogue's expressions become, stamped by the machine.

An expression sees only rows of local days that ended by the stamp, so none can see the
future. A value is written for each day's end at which the rows that it is made of change: a day with rows
came in, or one left the window.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from polars.dataframe.group_by import GroupBy

from nightreel.core import columns
from nightreel.core.catalogue import Feature, View
from nightreel.core.errors import InputError
from pipelines.local_days import INSTANT, ends_of_days, starts_of_dates

VISIBLE = "visible_from"  # pl.Date: the local day from whose beginning on a row may be used
_POINT = "point"
# Rows that are aggregated at a time: those of a window stand once for each day that it is seen from.
_ROWS_AT_A_TIME = 4_000_000
_NUMBER_MAX = 2**62


def visible_from(instants: pl.Series, zone: ZoneInfo) -> pl.Series:
    """The local day after that of each instant: the first on which its row may be seen."""
    return ends_of_days(instants, zone).dt.convert_time_zone(zone.key).dt.date().alias(VISIBLE)


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
        return _nothing(view)
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
    """
    return _daily(rows.drop_nulls([*view.join_keys, VISIBLE]), list(view.join_keys), _fast(view), view)


def from_values_of_days(values: pl.DataFrame, view: View, zone: ZoneInfo) -> pl.DataFrame:
    """What `over_days` gives, from the values of all days, sorted by keys and VISIBLE."""
    return _nothing(view) if values.is_empty() else _stamped(_combined(values, view)[1], view, zone)


def _fast(view: View) -> list[Feature]:
    return [one for one in view.features if one.combine == "sum" or (one.combine and one.days is None)]


def _combined(daily: pl.DataFrame, view: View) -> tuple["_Points", pl.DataFrame]:
    points = _Points.of(daily, list(view.join_keys), {feature.days for feature in view.features})
    found = points.keys
    for days, features in groupby(_fast(view), key=lambda feature: feature.days):
        found = found.with_columns(points.combined(daily, list(features), days, view))
    return points, found


def _stamped(found: pl.DataFrame, view: View, zone: ZoneInfo) -> pl.DataFrame:
    stamps = starts_of_dates(found[VISIBLE], zone).alias(columns.EVENT_TIMESTAMP)
    return _changes(view.conformed(found.with_columns(stamps)), list(view.join_keys))


def _nothing(view: View) -> pl.DataFrame:
    types: dict[str, pl.DataType] = dict.fromkeys(view.join_keys, pl.Int64())
    types |= {columns.EVENT_TIMESTAMP: INSTANT}
    return pl.DataFrame(schema=types | {feature.name: feature.dtype for feature in view.features})


@dataclass(frozen=True)
class _Points:
    """The keys and days at which values are made.

    Attributes:
        keys: the key columns and VISIBLE, sorted.
        key: int64, a number per key.
        day: int64, VISIBLE in days since the first.
        stride: above all days: key * stride + day is one ascending number for both.
        are_daily: whether they are the days with rows, and no others.
    """

    keys: pl.DataFrame
    key: np.ndarray
    day: np.ndarray
    first: int
    stride: int
    are_daily: bool

    @classmethod
    def of(cls, daily: pl.DataFrame, keys: list[str], windows: set[int | None]) -> "_Points":
        """daily: a row per key and day with rows, sorted by both."""
        number = _number(daily, keys).to_numpy()
        day = daily[VISIBLE].to_physical().to_numpy().astype(np.int64)
        lengths = [days for days in windows if days is not None]
        first = int(day.min())
        stride = int(day.max()) + max(lengths, default=0) - first + 2
        packed = number * stride + (day - first)
        if lengths:
            # Ascending runs are merged, in a hundredth of what np.unique takes.
            every = np.sort(np.concatenate([packed, *(packed + days for days in lengths)]), kind="stable")
            packed = every[np.append(True, every[1:] != every[:-1])]
        key, day = np.divmod(packed, stride)
        own = daily.select(keys)[np.searchsorted(number, np.arange(number[-1] + 1))[key]]
        visible = pl.Series(VISIBLE, day + first).cast(pl.Int32).cast(pl.Date)
        return cls(own.with_columns(visible), key, day, first, stride, not lengths)

    def combined(
        self, daily: pl.DataFrame, features: list[Feature], days: int | None, view: View
    ) -> list[pl.Series]:
        """What is made of each day's own value: by running sums, or by the running maximum of a key."""
        if days is None and self.are_daily:
            stops = np.arange(1, daily.height + 1)
            starts = np.searchsorted(self.key, np.arange(self.key[-1] + 1))[self.key]
        else:
            starts, stops = self._windows(daily, days)
        found = []
        for feature in features:
            values = daily[feature.name]
            if not (values.dtype.is_integer() or values.dtype.is_temporal() or values.dtype == pl.Boolean):
                raise InputError(
                    f"{_where(view)}: feature {feature.name!r}: {values.dtype} is not whole to combine.",
                    "Leave combine out, or round the values to whole numbers.",
                )
            if feature.combine == "sum":
                sums = np.append(0, np.cumsum(values.cast(pl.Int64).fill_null(0).to_numpy()))
                found.append(pl.Series(feature.name, sums[stops] - sums[starts]))
                continue
            running = _running(values, _number(daily, self.keys.columns[:-1]).to_numpy(), feature.combine)
            found.append(running[stops - 1])
        return found

    def _windows(self, rows: pl.DataFrame, days: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Of each point the first of the rows that it is made of, and the first after them.

        Args:
            rows: sorted by key and VISIBLE.
        """
        day = rows[VISIBLE].to_physical().to_numpy().astype(np.int64) - self.first
        row_keys = _number(rows, self.keys.columns[:-1]).to_numpy() * self.stride + day
        begin = self.key * self.stride
        if days is not None:
            # No rows of an earlier key: a day's number is never below 0.
            begin = begin + np.maximum(self.day - days + 1, 0)
        starts = np.searchsorted(row_keys, begin, side="left")
        stops = np.searchsorted(row_keys, self.key * self.stride + self.day, side="right")
        return starts, stops

    def aggregated(
        self, ordered: pl.DataFrame, features: list[Feature], days: int | None, view: View
    ) -> list[pl.Series]:
        """What is made of all rows of each window together."""
        starts, stops = self._windows(ordered, days)
        read = {name for feature in features for name in _expression(feature).meta.root_names()}
        used = ordered.select(name for name in ordered.columns if name in read or name == VISIBLE)
        lengths = stops - starts
        blocks = []
        for first, last in _blocks(lengths):
            of_block = lengths[first:last]
            point = np.repeat(np.arange(first, last), of_block)
            before = np.cumsum(of_block) - of_block
            row = np.arange(len(point)) - np.repeat(before - starts[first:last], of_block)
            window = used[row].with_columns(pl.Series(_POINT, point).set_sorted())
            blocks.append(_evaluated(window.group_by(_POINT, maintain_order=True), features, view))
        nothing = used.head(0).select(_expression(one).alias(one.name) for one in features)
        found = pl.DataFrame({_POINT: np.arange(len(lengths))}).join(
            pl.concat(blocks), on=_POINT, how="left", maintain_order="left"
        )
        empty = pl.Series(lengths == 0)
        return [
            found[one.name]
            .zip_with(
                ~empty,
                pl.Series([_of_nothing(nothing, one.name)], dtype=found[one.name].dtype).new_from_index(
                    0, len(lengths)
                ),
            )
            .alias(one.name)
            for one in features
        ]


def _daily(rows: pl.DataFrame, keys: list[str], features: list[Feature], view: View) -> pl.DataFrame:
    """The values of single days: a row per key and day with rows, sorted by both.

    One number for keys and day is grouped and sorted by in a fraction of the time, where one is enough.
    """
    parts = [*keys, VISIBLE]
    bounds = rows.select(
        *(pl.col(name).to_physical().min().cast(pl.Int64).alias(f"{name}_low") for name in parts),
        *(pl.col(name).to_physical().max().cast(pl.Int64).alias(f"{name}_high") for name in parts),
    ).row(0, named=True)
    widths = [bounds[f"{name}_high"] - bounds[f"{name}_low"] + 1 for name in parts]
    if math.prod(widths) > _NUMBER_MAX:
        return _evaluated(rows.group_by(parts), features, view).sort(parts)
    number = pl.lit(0, dtype=pl.Int64)
    for name, width in zip(parts, widths, strict=True):
        own = pl.col(name).to_physical().cast(pl.Int64) - bounds[f"{name}_low"]
        number = number * width + own
    grouped = rows.with_columns(number.alias(_POINT)).group_by(_POINT)
    daily = _evaluated(grouped, features, view).sort(_POINT)
    rest = pl.col(_POINT)
    found = []
    for name, width in zip(reversed(parts), reversed(widths), strict=True):
        own = rest % width + bounds[f"{name}_low"]
        physical = pl.Int32() if rows.schema[name] == pl.Date else pl.Int64()
        found.append(own.cast(physical).cast(rows.schema[name]).alias(name))
        rest = rest // width
    return daily.select(*reversed(found), *(feature.name for feature in features))


def _number(rows: pl.DataFrame, keys: list[str]) -> pl.Series:
    """A number per key, ascending, from 0: int64. rows: sorted by the keys."""
    new = pl.any_horizontal(pl.col(key).ne(pl.col(key).shift(1)) for key in keys)
    return rows.select(new.fill_null(value=False).cast(pl.Int64).cum_sum().alias(_POINT)).to_series()


def _running(values: pl.Series, key: np.ndarray, combine: str | None) -> pl.Series:
    """The largest ("max") or smallest so far of each key.

    Each step looks twice as far back as the one before, so there are few even for a key with many days.

    Args:
        key: ascending, whole numbers.
    """
    larger = combine == "max"
    bounds = np.iinfo(np.int64)
    unknown = bounds.min if larger else bounds.max
    best = values.to_physical().cast(pl.Int64).fill_null(unknown).to_numpy(writable=True)
    back = 1
    while back < len(best) and (same := key[back:] == key[:-back]).any():
        earlier = np.where(same, best[:-back], unknown)
        (np.maximum if larger else np.minimum)(best[back:], earlier, out=best[back:])
        back *= 2
    found = pl.Series(values.name, best)
    physical = values.to_physical().dtype
    return found.set(found == unknown, None).cast(physical).cast(values.dtype)


def _of_nothing(nothing: pl.DataFrame, name: str) -> object:
    return nothing[name][0] if nothing.height else None


def _blocks(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Consecutive windows, of about _ROWS_AT_A_TIME rows together."""
    block = np.cumsum(lengths) // _ROWS_AT_A_TIME
    borders = np.flatnonzero(np.diff(block)) + 1
    yield from zip([0, *borders.tolist()], [*borders.tolist(), len(lengths)], strict=True)


def _expression(feature: Feature) -> pl.Expr:
    assert feature.value is not None
    return feature.value


def _evaluated(grouped: GroupBy, features: Sequence[Feature], view: View) -> pl.DataFrame:
    """Raises InputError where an expression cannot be evaluated, or gives a group several values."""
    try:
        found = grouped.agg(_expression(feature).alias(feature.name) for feature in features)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        if len(features) > 1:
            for feature in features:  # one of them is at fault; find and name it
                _evaluated(grouped, [feature], view)
        said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise InputError(
            f"{_where(view)}: feature {features[0].name!r}: {type(error).__name__}: {said}.",
            "docs/own-features.md has the columns of each table.",
        ) from None
    for feature in features:
        if isinstance(found[feature.name].dtype, pl.List | pl.Array):
            raise InputError(
                f"{_where(view)}: feature {feature.name!r} gives several values, not one.",
                "Aggregate: pl.len(), pl.col(...).mean() and the like.",
            )
    return found


def _where(view: View) -> str:
    return view.module or f"view {view.name}"


def _changes(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The frame without rows that repeat the key's previous one."""
    features = [name for name in frame.columns if name not in (*keys, columns.EVENT_TIMESTAMP)]
    differs = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in (*keys, *features)]
    return frame.filter(pl.any_horizontal(*differs) | (pl.int_range(pl.len()) == 0))
