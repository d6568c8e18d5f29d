"""Alternating least squares with biases, fitted on plays only: pairs without a play are ignored.

A play's target is modelled as mean + user bias + video bias + the product of a user's and a video's factors
(Koren, Bell and Volinsky 2009, "Matrix factorization techniques for recommender systems", equation 4), fitted
by solving users given videos and videos given users, in turn. Each side's solution is exact.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

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
        starts = np.append(0, np.cumsum(counted(rows, 0)))
        grouped = cls(starts, np.empty_like(others), np.empty_like(targets))
        _deal(rows, others, targets, starts[:-1].copy(), grouped.others, grouped.targets)
        return grouped


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
    size = other.factors.shape[1]
    # The column of ones multiplies this side's biases; the last column becomes the target, so
    # that one product of the design with itself gives both sides of the normal equations.
    ones = np.ones(len(other.biases), dtype=np.float32)
    known = np.column_stack([other.factors, ones, -other.biases])
    ridge = np.diag(np.append(np.full(size, regularization), BIAS_REGULARIZATION)).astype(np.float32)
    solved = np.empty((len(counts), size + 1), dtype=np.float32)
    most = int(counts.max(initial=0))

    def solve_rows(rows: range) -> None:
        room = np.empty((most, size + 2), dtype=np.float32)
        for row in rows:
            played = slice(plays.starts[row], plays.starts[row] + counts[row])
            design = np.take(known, plays.others[played], axis=0, out=room[: counts[row]], mode="clip")
            design[:, -1] += plays.targets[played] - np.float32(mean)
            both = design.T @ design
            _, solved[row], failed = sposv(both[:-1, :-1] + ridge, both[:-1, -1])
            assert not failed, "a matrix plus a ridge is positive definite"

    # BLAS threads would compete with ours.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        list(pool.map(solve_rows, _blocks(counts, threads * _BLOCKS_A_THREAD)))
    return Side(solved[:, :size].copy(), solved[:, size].copy())


def _blocks(counts: np.ndarray, blocks: int) -> list[range]:
    """Consecutive rows in about as many blocks, of about as many plays each."""
    ends = np.searchsorted(np.cumsum(counts), np.linspace(0, counts.sum(), blocks + 1)[1:], side="left") + 1
    borders = np.unique(np.concatenate([[0], np.minimum(ends, len(counts))]))
    return [range(first, end) for first, end in pairwise(borders)]
