"""A shard of users for ALS: it reads their plays, solves them, and adds up what they say of the videos.

A shard holds its own users' plays and factors, and all videos' factors. Each call names the iteration that it
is part of, and all that a shard remembers follows from that: one that is lost is made again, and goes on with
any iteration.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.checksums import require_as_written
from pipelines.collaborative.fits import REGULARIZATION_PLAYS
from pipelines.collaborative.least_squares import Equations, Side, in_blocks, solutions, solve
from pipelines.collaborative.log import Log
from pipelines.hashing import uniform_hash
from pipelines.id_codes import IdCodes

# Other samples of users are drawn by hashes with seeds near the setting's.
_HASH_SEED = 22_022
_UNKNOWN = -1


@dataclass(frozen=True)
class UserShare:
    """The users of one shard, by hash.

    Attributes:
        number: of the shard, from 0.
        borders: of all shards, ascending, between 0 and 1; one fewer than there are shards.
    """

    number: int
    borders: tuple[float, ...]

    def holds(self, user_id: np.ndarray) -> np.ndarray:
        """Whether each of these users is in the shard: bool."""
        drawn = uniform_hash(user_id.astype(np.uint64), _HASH_SEED)
        held: np.ndarray = np.searchsorted(self.borders, drawn, side="right") == self.number
        return held


@dataclass(frozen=True)
class ShardInputs:
    """What a shard is made from.

    Attributes:
        days: the files of the log, in order; every node reaches them.
        checked: those of them that this shard compares with their checksums.
        cutoffs, seen_until: as `Log.read` takes them.
        watch_ratio_clip: the largest ratio that counts.
    """

    days: list[Path]
    checked: list[Path]
    cutoffs: tuple[datetime, ...]
    seen_until: tuple[datetime, ...]
    users: UserShare
    watch_ratio_clip: float
    threads: int

    def log(self) -> Log:
        """The plays of these users.

        Raises:
            InputError: if a file is not as ingest wrote it.
        """
        require_as_written(self.checked)
        return Log.read(self.days, self.cutoffs, self.seen_until, self.watch_ratio_clip, self._read)

    def _read(self, days: list[Path], names: Sequence[str]) -> pl.DataFrame:
        plays = pl.scan_parquet(days, hive_partitioning=False).select(names).collect()
        return plays.filter(pl.Series(self.users.holds(plays[columns.USER_ID].to_numpy())))


@dataclass(frozen=True)
class ShardFacts:
    """What all shards together need to know of one.

    Attributes:
        video_id: int64, the videos that its users played.
        first_fit: int64 [videos], the number of the first fit that sees a play of it here.
        plays: int64 [cutoffs], how many plays each fit sees.
        targets: float64 [cutoffs], the sum of their targets.
    """

    video_id: np.ndarray
    first_fit: np.ndarray
    plays: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Iteration:
    """What an iteration starts from.

    Attributes:
        number: no other iteration has it.
        fit: the number of the fit that it is part of.
        video_id: int64, all videos, in the order of their rows; the first ones have a row in `videos`.
        mean: of the targets.
    """

    number: int
    fit: int
    video_id: np.ndarray
    videos: Side
    mean: float


@dataclass(frozen=True)
class _Solved:
    """An iteration's users.

    Attributes:
        own_row: int32 [all videos], the row of each in the shard, _UNKNOWN if no user of it had played it.
    """

    number: int
    users: Side
    of_videos: Equations
    own_row: np.ndarray


class Shard:
    """The plays of some users, read when they are first needed."""

    def __init__(self, inputs: ShardInputs) -> None:
        self._inputs = inputs
        self._log: Log | None = None
        self._solved: _Solved | None = None

    def facts(self) -> ShardFacts:
        """What the shards have to know of each other."""
        log = self._plays()
        first_fit = np.searchsorted(log.videos.known, np.arange(len(log.videos.ids)), side="right")
        return ShardFacts(log.videos.ids, first_fit, log.plays, log.targets)

    def sums(self, iteration: Iteration, videos: range) -> np.ndarray:
        """What these users' plays add to the equations of some videos.

        Returns:
            float32 [videos, numbers], of each video's matrix the diagonal and what is above it, for
            `solved_videos`.
        """
        solved = self._of(iteration)
        own = solved.own_row[videos.start : videos.stop]
        at = np.flatnonzero(own != _UNKNOWN)
        above = _above_diagonal(solved.of_videos.design.shape[1])
        found = np.zeros((len(videos), len(above)), dtype=np.float32)

        def add_up(some: range) -> None:
            rows = at[some.start : some.stop]
            for row, both in zip(rows, solved.of_videos.of_rows(own[rows]), strict=True):
                np.take(both.ravel(), above, out=found[row])

        in_blocks(add_up, solved.of_videos.counts[own[at]], self._inputs.threads)
        return found

    def users(self, iteration: Iteration) -> tuple[np.ndarray, Side]:
        """The users whom the iteration's fit knows, and their side."""
        solved = self._of(iteration)
        return self._plays().users.ids[: len(solved.users.biases)], solved.users

    def _plays(self) -> Log:
        if self._log is None:
            self._log = self._inputs.log()
        return self._log

    def _of(self, iteration: Iteration) -> _Solved:
        if self._solved is None or self._solved.number != iteration.number:
            self._solved = self._solve(iteration)
        return self._solved

    def _solve(self, iteration: Iteration) -> _Solved:
        plays, fit = self._plays(), iteration.fit
        rows = IdCodes(iteration.video_id).of_known(plays.videos.ids[: plays.videos.known[fit]])
        own_row = np.full(len(iteration.videos.biases), _UNKNOWN, dtype=np.int32)
        own_row[rows] = np.arange(len(rows))
        known = Side(iteration.videos.factors[rows], iteration.videos.biases[rows])
        users = solve(
            plays.by_user,
            plays.plays_a_user[fit],
            known,
            iteration.mean,
            regularization=REGULARIZATION_PLAYS,
            threads=self._inputs.threads,
        )
        of_videos = Equations.of(plays.by_video, plays.plays_a_video[fit], users, iteration.mean)
        return _Solved(iteration.number, users, of_videos, own_row)


def solved_videos(size: int, *sums: np.ndarray) -> np.ndarray:
    """Factors and bias of each video of a block: float32 [videos, size + 1].

    Args:
        size: the number of factors, without the bias.
        sums: of each shard, as `Shard.sums` returns them.
    """
    total = sums[0].copy()
    for more in sums[1:]:
        total += more
    return solutions(_matrices(total, size + 2), len(total), size, REGULARIZATION_PLAYS)


def _matrices(above_diagonal: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Each matrix with what is above its diagonal; below it, anything."""
    room = np.zeros(size * size, dtype=np.float32)
    at = _above_diagonal(size)
    for one in above_diagonal:
        room[at] = one
        yield room.reshape(size, size)


def _above_diagonal(size: int) -> np.ndarray:
    """The indices, in a flat matrix, of its diagonal and what is above: int64."""
    row, column = np.triu_indices(size)
    found: np.ndarray = row * size + column
    return found
