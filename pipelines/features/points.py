"""The keys and days at which a view has values, and the rows of earlier days that each value is made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from nightreel.core.catalogue import Feature, View
from nightreel.core.errors import InputError
from pipelines.features.expression_values import evaluated, expression_of, where_declared

VISIBLE = "visible_from"  # pl.Date: the local day from whose beginning on a row may be used
POINT = "point"
# Rows aggregated at a time; a row counts once for every window that contains it.
_ROWS_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Points:
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
    def of(cls, daily: pl.DataFrame, keys: list[str], windows: set[int | None]) -> "Points":
        """Prepare windows over daily rows.

        Args:
            daily: a row per key and day with rows, sorted by both.
        """
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
        """Feature values from each day's own value: by running sums, or by the running maximum of a key."""
        if days is None and self.are_daily:
            stops = np.arange(1, daily.height + 1)
            starts = np.searchsorted(self.key, np.arange(self.key[-1] + 1))[self.key]
        else:
            starts, stops = self._windows(daily, days)
        found = []
        for feature in features:
            values = daily[feature.name]
            if not is_whole(values.dtype):
                where = f"{where_declared(view)}: feature {feature.name!r}"
                raise InputError(
                    f"{where}: {values.dtype} is not a whole number, so it cannot be combined.",
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
        """For each point, the first of the rows that it is made of, and the first row after them.

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
        """Feature values from all rows of each window together."""
        starts, stops = self._windows(ordered, days)
        read = {name for feature in features for name in expression_of(feature).meta.root_names()}
        used = ordered.select(name for name in ordered.columns if name in read or name == VISIBLE)
        lengths = stops - starts
        blocks = []
        for first, last in _blocks(lengths):
            of_block = lengths[first:last]
            point = np.repeat(np.arange(first, last), of_block)
            before = np.cumsum(of_block) - of_block
            row = np.arange(len(point)) - np.repeat(before - starts[first:last], of_block)
            window = used[row].with_columns(pl.Series(POINT, point).set_sorted())
            blocks.append(evaluated(window.group_by(POINT, maintain_order=True), features, view))
        nothing = used.head(0).select(expression_of(one).alias(one.name) for one in features)
        found = pl.DataFrame({POINT: np.arange(len(lengths))}).join(
            pl.concat(blocks), on=POINT, how="left", maintain_order="left"
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


def is_whole(kind: pl.DataType) -> bool:
    """Whether values of a type are whole numbers, or stand for them, so that those of days combine."""
    return kind.is_integer() or kind.is_temporal() or kind == pl.Boolean


def _number(rows: pl.DataFrame, keys: list[str]) -> pl.Series:
    """A number per key, ascending, from 0: int64.

    Args:
        rows: sorted by the keys.
    """
    new = pl.any_horizontal(pl.col(key).ne(pl.col(key).shift(1)) for key in keys)
    return rows.select(new.fill_null(value=False).cast(pl.Int64).cum_sum().alias(POINT)).to_series()


def _running(values: pl.Series, key: np.ndarray, combine: str | None) -> pl.Series:
    """The largest ("max") or smallest so far of each key.

    Each step looks back twice as far as the step before, so there are few steps even for a key with many
    days.

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
