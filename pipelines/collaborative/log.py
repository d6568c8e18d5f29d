"""The log that ALS is fitted on: a code for each user and video, read some days at a time.

A play takes 12 bytes here, and 16 once it is grouped by user and by video; the log's columns are never all in
memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import in_parts, read_days, rows_of
from pipelines.id_codes import IdCodes

# Rows are renumbered so many at a time.
_ROWS_AT_A_TIME = 1_000_000
_READ = (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.WATCH_RATIO)


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
    """Plays in order of time, as rows of the factor matrices.

    Attributes:
        cutoffs: UTC, ascending.
        ends: the number of plays strictly before each cutoff.
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
        return cls._of([lambda: plays], plays.height, cutoffs)

    @classmethod
    def read(cls, days: list[Path], cutoffs: Sequence[datetime]) -> "Log":
        """The log in files of days, at least one, in order.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        parts = [_reader(part) for part in in_parts(days)]
        return cls._of(parts, rows_of(days), cutoffs)

    @classmethod
    def _of(
        cls, parts: Sequence[Callable[[], pl.DataFrame]], plays: int, cutoffs: Sequence[datetime]
    ) -> "Log":
        ends = np.zeros(len(cutoffs), dtype=np.int64)
        coded = _Coded(columns.USER_ID, plays), _Coded(columns.VIDEO_ID, plays)
        ratios = np.empty(plays, dtype=np.float32)
        start = 0
        for part in parts:
            frame = part()
            instants = frame[columns.EVENT_TIMESTAMP]
            before = np.array([instants.search_sorted(cutoff, side="left") for cutoff in cutoffs])
            plays_of_windows = np.diff(before, prepend=0, append=frame.height)
            window = pl.Series("window", np.repeat(np.arange(len(plays_of_windows)), plays_of_windows))
            for keys in coded:
                keys.meet(frame[keys.name], window, start)
            ends += before
            ratios[start : start + frame.height] = frame[columns.WATCH_RATIO].to_numpy()
            start += frame.height
        users, videos = (keys.known_at(len(cutoffs)) for keys in coded)
        return cls(tuple(cutoffs), tuple(ends.tolist()), users, videos, ratios)


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

    def known_at(self, cutoffs: int) -> Keys:
        """The keys, once all plays were added: codes in order of appearance become rows."""
        first = self._first.sort("window", self.name)
        ids = first[self.name].to_numpy()
        row_of_code = np.empty(len(ids), dtype=np.int32)
        row_of_code[self._codes.of_known(ids)] = np.arange(len(ids))
        for start in range(0, len(self._rows), _ROWS_AT_A_TIME):
            part = slice(start, start + _ROWS_AT_A_TIME)
            self._rows[part] = row_of_code[self._rows[part]]
        known = np.searchsorted(first["window"].to_numpy(), np.arange(cutoffs), side="right")
        return Keys(ids, self._rows, known.tolist())


def _reader(days: list[Path]) -> Callable[[], pl.DataFrame]:
    return lambda: read_days(days, _READ)
