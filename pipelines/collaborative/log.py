"""The log that ALS is fitted on: plays grouped by user and by video, read some days at a time.

The log is read twice: first users, videos and the numbers of their plays are found, so that each play is then
written where it belongs. A play takes 16 bytes, and the log's columns are never all in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.play_days import cut, newest_of, read_days, rows_of
from pipelines.collaborative.least_squares import Grouping, Plays, counted
from pipelines.id_codes import IdCodes
from pipelines.local_days import INSTANT

# Plays, of whole days if they are read, in memory at a time: putting late ones in order takes several copies.
_PLAYS_AT_A_TIME = 1_000_000
_PAIR = (columns.USER_ID, columns.VIDEO_ID)
_WINDOW = "window"
# Plays, each with the number of the first fit that sees it, ascending.
_Part = tuple[pl.DataFrame, np.ndarray]


@dataclass(frozen=True)
class Keys:
    """Users or videos, in the order of their rows in the factor matrices: that in which they became known."""

    ids: np.ndarray  # the id of each row
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
    """The plays that some fit sees, grouped, in order of the first fit that sees each, and then of time.

    Attributes:
        cutoffs: UTC, ascending.
        plays: int64 [cutoffs], how many plays each fit sees: those strictly before its cutoff, except late
            ones.
        targets: float64 [cutoffs], the sum of their targets.
        plays_a_user, plays_a_video: for each fit, how many plays it sees of each row that it knows: int64.
    """

    cutoffs: tuple[datetime, ...]
    plays: np.ndarray
    targets: np.ndarray
    users: Keys
    videos: Keys
    by_user: Plays
    by_video: Plays
    plays_a_user: list[np.ndarray]
    plays_a_video: list[np.ndarray]

    @classmethod
    def of(cls, plays: pl.DataFrame, cutoffs: Sequence[datetime], clip: float) -> "Log":
        """A log in memory.

        Args:
            plays: user_id, video_id, event_timestamp (ascending), watch_ratio; at least one before the first
                cutoff.
            cutoffs: UTC, ascending.
            clip: the largest watch_ratio that counts.
        """
        window = _windows(plays[columns.EVENT_TIMESTAMP], cutoffs)
        ends = range(_PLAYS_AT_A_TIME, plays.height + _PLAYS_AT_A_TIME, _PLAYS_AT_A_TIME)
        parts = [slice(end - _PLAYS_AT_A_TIME, end) for end in ends]
        return cls._of(lambda _: ((plays[part], window[part]) for part in parts), cutoffs, clip)

    @classmethod
    def read(
        cls,
        days: list[Path],
        cutoffs: Sequence[datetime],
        seen_until: Sequence[datetime],
        clip: float,
        read: Callable[[list[Path], Sequence[str]], pl.DataFrame] = read_days,
    ) -> "Log":
        """The log in files of days, at least one, in order.

        Args:
            seen_until: for each cutoff, ascending, the instant by which the plays that its fit sees had
                arrived.
            clip: the largest watch_ratio that counts.
            read: reads columns of some days; by default all of their plays.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        newest = newest_of(days, columns.CREATED_TIMESTAMP)
        some_wait = newest is not None and newest > seen_until[0]
        instants = [columns.EVENT_TIMESTAMP, *([columns.CREATED_TIMESTAMP] if some_wait else [])]

        def parts(names: Sequence[str]) -> Iterator[_Part]:
            pieces = cut(days, 1 + rows_of(days) // _PLAYS_AT_A_TIME)
            found = (read(piece, [*names, *instants]) for piece in pieces)
            return _in_order((plays for plays in found if plays.height), cutoffs, seen_until)

        return cls._of(parts, cutoffs, clip)

    @classmethod
    def _of(
        cls, parts: Callable[[Sequence[str]], Iterator[_Part]], cutoffs: Sequence[datetime], clip: float
    ) -> "Log":
        """parts: reads the log from its beginning, with columns of these names."""
        users, videos = (_Met(len(cutoffs)) for _ in _PAIR)
        for frame, window in parts(_PAIR):
            for fit, some in _by_fit(window, len(cutoffs)):
                users.add(frame[columns.USER_ID][some].to_numpy(), fit)
                videos.add(frame[columns.VIDEO_ID][some].to_numpy(), fit)
        (of_users, plays_a_user), (of_videos, plays_a_video) = users.known(), videos.known()
        by_user, by_video = Grouping(plays_a_user[-1]), Grouping(plays_a_video[-1])
        user_rows, video_rows = IdCodes(of_users.ids), IdCodes(of_videos.ids)
        sums = np.zeros(len(cutoffs), dtype=np.float64)
        for frame, window in parts((*_PAIR, columns.WATCH_RATIO)):
            seen = frame[: np.searchsorted(window, len(cutoffs))]
            targets = targets_of(seen[columns.WATCH_RATIO].to_numpy(), clip)
            user = user_rows.of_known(seen[columns.USER_ID].to_numpy()).astype(np.int32, copy=False)
            video = video_rows.of_known(seen[columns.VIDEO_ID].to_numpy()).astype(np.int32, copy=False)
            by_user.add(user, video, targets)
            by_video.add(video, user, targets)
            for fit, some in _by_fit(window, len(cutoffs)):
                sums[fit] += targets[some].sum(dtype=np.float64)
        return cls(
            tuple(cutoffs),
            np.array([plays.sum() for plays in plays_a_user]),
            np.cumsum(sums),
            of_users,
            of_videos,
            by_user.plays,
            by_video.plays,
            plays_a_user,
            plays_a_video,
        )


def targets_of(ratios: np.ndarray, clip: float) -> np.ndarray:
    """What is fitted: float32 [plays].

    Args:
        ratios: float32, each play's watch_ratio.
        clip: the largest that counts.
    """
    targets: np.ndarray = np.clip(ratios, 0, clip)
    np.log1p(targets, out=targets)
    return targets


def _by_fit(window: np.ndarray, fits: int) -> Iterator[tuple[int, slice]]:
    """The plays that each fit is the first to see, if there are any; those that none sees are left out.

    Args:
        window: the number of the first fit that sees each play, ascending.
    """
    borders = np.searchsorted(window, np.arange(fits + 1)).tolist()
    return ((fit, slice(*ends)) for fit, ends in enumerate(pairwise(borders)) if ends[0] < ends[1])


def _in_order(
    parts: Iterable[pl.DataFrame], cutoffs: Sequence[datetime], seen_until: Sequence[datetime]
) -> Iterator[_Part]:
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


def _by_window(plays: pl.DataFrame) -> _Part:
    ordered = plays.sort(_WINDOW, maintain_order=True)
    return ordered, ordered[_WINDOW].to_numpy()


def _windows(instants: pl.Series, cutoffs: Sequence[datetime]) -> np.ndarray:
    """The number of the first cutoff after each instant, ascending: int64."""
    before = np.array([instants.search_sorted(cutoff, side="left") for cutoff in cutoffs])
    plays_of_windows = np.diff(before, prepend=0, append=len(instants))
    return np.repeat(np.arange(len(plays_of_windows)), plays_of_windows)


class _Met:
    """The keys of some plays: which fit is the first to see each, and how many of its plays."""

    def __init__(self, fits: int) -> None:
        self._codes = IdCodes(np.zeros(0, dtype=np.int64))
        self._plays = np.zeros((fits, 0), dtype=np.int64)

    def add(self, ids: np.ndarray, fit: int) -> None:
        """Add the keys of plays that a fit is the first to see."""
        code = self._codes.of(ids)
        new = len(self._codes.ids) - self._plays.shape[1]
        self._plays = np.pad(self._plays, ((0, 0), (0, new)))
        self._plays[fit] += counted(code, self._plays.shape[1])

    def known(self) -> tuple[Keys, list[np.ndarray]]:
        """The keys and, for each fit, how many plays it sees of each row that it knows: int64."""
        first = np.argmax(self._plays > 0, axis=0)
        order = np.lexsort((self._codes.ids, first))
        known = np.searchsorted(first[order], np.arange(len(self._plays)), side="right").tolist()
        plays = np.cumsum(self._plays[:, order], axis=0)
        seen = [of_fit[:rows].copy() for of_fit, rows in zip(plays, known, strict=True)]
        return Keys(self._codes.ids[order], known), seen
