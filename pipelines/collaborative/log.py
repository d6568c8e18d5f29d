"""The log that ALS is fitted on: a code for each user and video, read some days at a time.

A play takes 12 bytes here, and 16 once it is grouped by user and by video; the log's columns are never all in
memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import in_parts, newest_of, read_days, rows_of
from pipelines.id_codes import IdCodes
from pipelines.local_days import INSTANT

# Rows that are renumbered at a time.
_ROWS_AT_A_TIME = 1_000_000
_READ = (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.WATCH_RATIO)
_WINDOW = "window"


@dataclass(frozen=True)
class Keys:
    """Users or videos, and their rows in the factor matrices, in the order in which they became known."""

    ids: np.ndarray  # the id of each row
    rows: np.ndarray  # int32, the row of each play's key
    known: list[int]  # how many rows are known at each cutoff

    def in_rows(self, ids: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """The factors, given by ascending ids, in the order of these rows: of the first len(ids) of them."""
        rows: np.ndarray = factors[np.searchsorted(ids, self.ids[: len(ids)])]
        return rows

    def by_id(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids that these rows stand for, ascending, and the rows in that order, float32."""
        ids = self.ids[: len(factors)]
        order = np.argsort(ids)
        return ids[order], factors[order].astype(np.float32)


@dataclass(frozen=True)
class Log:
    """Plays as rows of the factor matrices, in order of the first fit that sees each, and then of time.

    Attributes:
        cutoffs: UTC, ascending.
        ends: the number of plays that each fit sees: those strictly before its cutoff, except late ones.
        ratios: float32, each play's watch_ratio.
    """

    cutoffs: tuple[datetime, ...]
    ends: tuple[int, ...]
    users: Keys
    videos: Keys
    ratios: np.ndarray

    @classmethod
    def of(cls, plays: pl.DataFrame, cutoffs: Sequence[datetime]) -> "Log":
        """A log in memory.

        Args:
            plays: user_id, video_id, event_timestamp (ascending), watch_ratio; at least one before the first
                cutoff.
            cutoffs: UTC, ascending.
        """
        return cls._of([(plays, _windows(plays[columns.EVENT_TIMESTAMP], cutoffs))], plays.height, cutoffs)

    @classmethod
    def read(
        cls,
        days: list[Path],
        cutoffs: Sequence[datetime],
        seen_until: Sequence[datetime],
        read: Callable[[list[Path], Sequence[str]], pl.DataFrame] = read_days,
    ) -> "Log":
        """The log in files of days, at least one, in order.

        Args:
            seen_until: for each cutoff, ascending, the instant by which the plays that its fit sees had
                arrived.
            read: reads columns of some days; by default all of their plays.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        newest = newest_of(days, columns.CREATED_TIMESTAMP)
        some_wait = newest is not None and newest > seen_until[0]
        names = (*_READ, columns.CREATED_TIMESTAMP) if some_wait else _READ
        parts = (found for part in in_parts(days) if (found := read(part, names)).height)
        return cls._of(_in_order(parts, cutoffs, seen_until), rows_of(days), cutoffs)

    @classmethod
    def _of(
        cls, parts: Iterable[tuple[pl.DataFrame, np.ndarray]], plays: int, cutoffs: Sequence[datetime]
    ) -> "Log":
        """plays: their number or, if only some are read, more: what is never written takes no memory."""
        coded = _Coded(columns.USER_ID, plays), _Coded(columns.VIDEO_ID, plays)
        ratios = np.empty(plays, dtype=np.float32)
        counts = np.zeros(len(cutoffs) + 1, dtype=np.int64)
        start = 0
        for frame, window in parts:
            for keys in coded:
                keys.meet(frame[keys.name], pl.Series("window", window), start)
            counts += np.bincount(window, minlength=len(counts))
            ratios[start : start + frame.height] = frame[columns.WATCH_RATIO].to_numpy()
            start += frame.height
        users, videos = (keys.known_at(len(cutoffs), start) for keys in coded)
        return cls(tuple(cutoffs), tuple(np.cumsum(counts)[:-1].tolist()), users, videos, ratios[:start])


def _in_order(
    parts: Iterable[pl.DataFrame], cutoffs: Sequence[datetime], seen_until: Sequence[datetime]
) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
    """Plays, each with the number of the first fit that sees it; in order of that number, and then of time.

    Args:
        parts: in order of time; with created_timestamp if a play may wait for a later fit.
    """
    waiting: pl.DataFrame | None = None
    for part in parts:
        window = _windows(part[columns.EVENT_TIMESTAMP], cutoffs)
        if columns.CREATED_TIMESTAMP not in part.columns:
            yield part, window
            continue
        last = int(window[-1])
        limits = pl.Series(seen_until, dtype=INSTANT).to_physical().to_numpy()
        arrived = part[columns.CREATED_TIMESTAMP].to_physical().to_numpy()
        seen = np.maximum(window, np.searchsorted(limits, arrived, side="left"))
        if waiting is None and np.array_equal(seen, window):
            yield part, window
            continue
        known = part.with_columns(pl.Series(_WINDOW, seen))
        known = known if waiting is None else pl.concat([waiting, known])
        waiting = known.filter(pl.col(_WINDOW) > last)
        yield _by_window(known.filter(pl.col(_WINDOW) <= last))
    if waiting is not None and waiting.height:
        yield _by_window(waiting)


def _by_window(plays: pl.DataFrame) -> tuple[pl.DataFrame, np.ndarray]:
    ordered = plays.sort(_WINDOW, maintain_order=True)
    return ordered, ordered[_WINDOW].to_numpy()


def _windows(instants: pl.Series, cutoffs: Sequence[datetime]) -> np.ndarray:
    """The number of the first cutoff after each instant, ascending: int64."""
    before = np.array([instants.search_sorted(cutoff, side="left") for cutoff in cutoffs])
    plays_of_windows = np.diff(before, prepend=0, append=len(instants))
    return np.repeat(np.arange(len(plays_of_windows)), plays_of_windows)


class _Coded:
    """Assigns rows to keys: to the ids of the first window, then to the new ids of the next, and so on."""

    def __init__(self, name: str, plays: int) -> None:
        self.name = name
        self._first = pl.DataFrame(schema={name: pl.Int64, "window": pl.Int64})
        self._codes = IdCodes(np.zeros(0, dtype=np.int64))
        self._rows = np.empty(plays, dtype=np.int32)

    def meet(self, keys: pl.Series, window: pl.Series, start: int) -> None:
        """Add the keys of some plays, the first of which is play `start`, and the window of each play."""
        met = pl.DataFrame([keys, window]).group_by(self.name).agg(pl.col("window").min())
        self._first = pl.concat([self._first, met.cast(pl.Int64)])
        self._first = self._first.group_by(self.name).agg(pl.col("window").min())
        self._rows[start : start + len(keys)] = self._codes.of(keys.to_numpy())

    def known_at(self, cutoffs: int, plays: int) -> Keys:
        """The keys, once all plays were added: codes in order of appearance become rows."""
        self._rows = self._rows[:plays]
        first = self._first.sort("window", self.name)
        ids = first[self.name].to_numpy()
        row_of_code = np.empty(len(ids), dtype=np.int32)
        row_of_code[self._codes.of_known(ids)] = np.arange(len(ids))
        for start in range(0, len(self._rows), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            self._rows[part] = row_of_code[self._rows[part]]
        known = np.searchsorted(first["window"].to_numpy(), np.arange(cutoffs), side="right")
        return Keys(ids, self._rows, known.tolist())
