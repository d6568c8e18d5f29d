"""Alternating least squares with biases, fitted on plays only: pairs without a play are ignored.

A play's target is modelled as mean + user bias + video bias + the product of a user's and a video's factors
(Koren, Bell and Volinsky 2009, "Matrix factorization techniques for recommender systems", equation 4), fitted
by solving users given videos and videos given users, in turn. Each side's solution is exact.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
from scipy.linalg.lapack import sposv
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core.compiled import compiled

# Regularization of a bias, in plays: far weaker than that of the factors, as a bias is a single number.
BIAS_REGULARIZATION = 5.0
_BLOCKS_A_THREAD = 8
_COUNTED_AT_A_TIME = 4_000_000


@dataclass(frozen=True)
class Plays:
    """Plays grouped by user or by video, in order of time within each: a past is a prefix of each group.

    Attributes:
        starts: int64 [rows + 1], where each row's plays begin; the end last.
        others: int32 [plays], the row of the other side.
        targets: float32 [plays].
    """

    starts: np.ndarray
    others: np.ndarray
    targets: np.ndarray

    @classmethod
    def grouped(cls, rows: np.ndarray, others: np.ndarray, targets: np.ndarray) -> "Plays":
        """Group plays, given in order of time, by `rows` (int32 from 0, without a gap)."""
        grouping = Grouping(counted(rows, 0))
        grouping.add(rows, others, targets)
        return grouping.plays


class Grouping:
    """Groups plays that come part by part, in order of time.

    Attributes:
        plays: complete once all parts were added.
    """

    def __init__(self, counts: np.ndarray) -> None:
        """Make room for the plays.

        Args:
            counts: int64 [rows], how many plays of each row will be added.
        """
        starts = np.append(0, np.cumsum(counts))
        others, targets = (np.empty(starts[-1], dtype=dtype) for dtype in (np.int32, np.float32))
        self.plays = Plays(starts, others, targets)
        self._following = starts[:-1].copy()

    def add(self, rows: np.ndarray, others: np.ndarray, targets: np.ndarray) -> None:
        """Add plays: their rows and those of the other side, int32, and targets, float32."""
        _deal(rows, others, targets, self._following, self.plays.others, self.plays.targets)


@dataclass(frozen=True)
class Side:
    """Users or videos: factors float32 [rows, factors] and biases float32 [rows]."""

    factors: np.ndarray
    biases: np.ndarray

    @classmethod
    def random(cls, rows: int, size: int, random: np.random.Generator) -> "Side":
        """Small random factors, from which a first fit starts, and no biases."""
        factors = random.normal(0.0, 0.1 / np.sqrt(size), (rows, size)).astype(np.float32)
        return cls(factors, np.zeros(rows, dtype=np.float32))

    def grown(self, rows: int) -> "Side":
        """This side with zeros for the rows that are new: nothing is known of them yet."""
        new = rows - len(self.biases)
        return Side(np.pad(self.factors, ((0, new), (0, 0))), np.pad(self.biases, (0, new)))


def counted(rows: np.ndarray, least: int) -> np.ndarray:
    """How often each whole number from 0 on occurs: int64, with at least this many entries.

    Counted piece by piece, because NumPy copies its whole input to wider numbers.
    """
    found = np.zeros(max(least, int(rows.max(initial=-1)) + 1), dtype=np.int64)
    for start in range(0, len(rows), _COUNTED_AT_A_TIME):
        found += np.bincount(rows[start : start + _COUNTED_AT_A_TIME], minlength=len(found))
    return found


@compiled
def _deal(
    rows: np.ndarray,
    others: np.ndarray,
    targets: np.ndarray,
    following: np.ndarray,
    dealt_others: np.ndarray,
    dealt_targets: np.ndarray,
) -> None:
    """Write each play to its row's next free index: a stable counting sort."""
    for play in range(len(rows)):
        to = following[rows[play]]
        dealt_others[to] = others[play]
        dealt_targets[to] = targets[play]
        following[rows[play]] = to + 1


@dataclass(frozen=True)
class Equations:
    """The normal equations of one side's rows, given the other side.

    Attributes:
        counts: int64 [rows], how many of each row's plays count, from the first on.
        design: float32 [rows of the other side, factors + 2]: factors, a one that multiplies this side's
            bias, and the part of a target that is known without this side.
        mean: of the targets.
    """

    plays: Plays
    counts: np.ndarray
    design: np.ndarray
    mean: float

    @classmethod
    def of(cls, plays: Plays, counts: np.ndarray, other: Side, mean: float) -> Self:
        """The equations of the first len(counts) rows of `plays`."""
        ones = np.ones(len(other.biases), dtype=np.float32)
        return cls(plays, counts, np.column_stack([other.factors, ones, -other.biases]), mean)

    def of_rows(self, rows: Iterable[int]) -> Iterator[np.ndarray]:
        """Each row's equations: float32 [factors + 2, factors + 2].

        The last column of a row's design is the target that is left to explain, so that one product of the
        design with itself has both sides of the equations.
        """
        room = np.empty((int(self.counts.max(initial=0)), self.design.shape[1]), dtype=np.float32)
        for row in rows:
            count = self.counts[row]
            played = slice(self.plays.starts[row], self.plays.starts[row] + count)
            design = np.take(self.design, self.plays.others[played], axis=0, out=room[:count], mode="clip")
            design[:, -1] += self.plays.targets[played] - np.float32(self.mean)
            yield design.T @ design


def solve(
    plays: Plays, counts: np.ndarray, other: Side, mean: float, *, regularization: float, threads: int
) -> Side:
    """The best factors and biases of one side, given those of the other.

    The work is split among threads by row, and each row is summed by one thread alone, so the result does not
    depend on their number.

    Args:
        counts: int64 [rows], at least one: how many of each row's plays count, from the first on.
        mean: of the targets.
        regularization: weight of a factor's square, in plays.
    """
    equations = Equations.of(plays, counts, other, mean)
    size = other.factors.shape[1]
    solved = np.empty((len(counts), size + 1), dtype=np.float32)

    def solve_rows(rows: range) -> None:
        solved[rows.start : rows.stop] = solutions(equations.of_rows(rows), len(rows), size, regularization)

    in_blocks(solve_rows, counts, threads)
    return Side(solved[:, :size].copy(), solved[:, size].copy())


def solutions(equations: Iterable[np.ndarray], rows: int, size: int, regularization: float) -> np.ndarray:
    """Factors and bias of each of some rows: float32 [rows, size + 1].

    Args:
        equations: of each row, as `Equations.of_rows` gives them; only what is above their diagonal is read.
        regularization: weight of a factor's square, in plays.
    """
    ridge = np.diag(np.append(np.full(size, regularization), BIAS_REGULARIZATION)).astype(np.float32)
    solved = np.empty((rows, size + 1), dtype=np.float32)
    for row, both in enumerate(equations):
        _, solved[row], failed = sposv(both[:-1, :-1] + ridge, both[:-1, -1])
        assert not failed, "a matrix plus a ridge is positive definite"
    return solved


def in_blocks(work: Callable[[range], None], counts: np.ndarray, threads: int) -> None:
    """Do some rows' work in threads, in blocks of consecutive rows with about as many plays each.

    Args:
        counts: int64 [rows], the plays of each; rows without any at the end are left out.
    """
    # BLAS threads would compete with ours.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, _blocks(counts, threads * _BLOCKS_A_THREAD)))


def _blocks(counts: np.ndarray, blocks: int) -> list[range]:
    """Consecutive rows in about as many blocks, of about as many plays each."""
    ends = np.searchsorted(np.cumsum(counts), np.linspace(0, counts.sum(), blocks + 1)[1:], side="left") + 1
    borders = np.unique(np.concatenate([[0], np.minimum(ends, len(counts))]))
    return [range(first, end) for first, end in pairwise(borders)]
