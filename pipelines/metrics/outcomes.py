"""The true outcomes of pairs, independent of any system."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from pipelines.metrics.loops import counts_of_first, sums_of_first
from pipelines.metrics.orders import Order, ascends, runs


@dataclass(frozen=True)
class Positions:
    """Positions in lists, list after list: the user (as a position) and the rank from 0; int32 [positions].

    Attributes:
        users: how many there are, including those with an empty list.
    """

    users: int
    user: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(cls, lengths: np.ndarray) -> "Positions":
        """Every position of lists with these lengths."""
        user = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        rank = np.arange(len(user)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(len(lengths), user, rank.astype(np.int32))

    def only(self, which: np.ndarray) -> "Positions":
        """The positions selected by a bool mask."""
        return Positions(self.users, self.user[which], self.rank[which])

    def sums(self, values: np.ndarray, k: int) -> np.ndarray:
        """Each user's sum of the values at the first k ranks: float64 [users].

        Args:
            values: one for each listed row.
        """
        sums: np.ndarray = sums_of_first(self.user, self.rank, values.astype(np.float64), k, self.users)
        return sums

    def counts(self, k: int) -> np.ndarray:
        """How many of these positions are among each user's first k ranks: float64 [users]."""
        counts: np.ndarray = counts_of_first(self.user, self.rank, k, self.users)
        return counts


@dataclass(frozen=True)
class Outcome:
    """The true outcomes of pairs, independent of any system's scores.

    Attributes:
        relevant: bool [pairs].
        gains: float [pairs], at least 0, the graded relevance of the video to the user.
        users: int64 [users], ascending.
        relevant_counts: float64 [users], each user's relevant videos.
        best, best_gains: at least the first `depth` positions of each list in the best possible order, and
            their gains; None where gains are binary.
    """

    relevant: np.ndarray
    gains: np.ndarray
    users: np.ndarray
    relevant_counts: np.ndarray
    best: Positions | None
    best_gains: np.ndarray | None
    depth: int
    _best_sums: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, user_id: np.ndarray, relevant: np.ndarray, gain: np.ndarray | None, depth: int) -> "Outcome":
        """From one entry per pair, in any order.

        Args:
            gain: graded relevance, by default 1 if relevant.
        """
        order = np.arange(len(user_id)) if ascends(user_id) else np.argsort(user_id, kind="stable")
        users, starts = runs(user_id[order])
        return cls.of_groups(Order(users, starts, order), relevant, gain, depth)

    @classmethod
    def of_groups(cls, groups: Order, relevant: np.ndarray, gain: np.ndarray | None, depth: int) -> "Outcome":
        """The outcome of groups of pairs, in any order within a group."""
        hits = relevant.astype(bool)
        counts = _sums(hits[groups.rows], groups.starts)
        if gain is None:
            return cls(hits, hits, groups.users, counts, None, None, depth)
        largest = [
            np.sort(gain[groups.rows[start:end]])[::-1][:depth]
            for start, end in pairwise(groups.starts.tolist())
        ]
        best = Positions.of(np.minimum(groups.lengths, depth))
        return cls(hits, gain, groups.users, counts, best, np.concatenate([*largest, np.zeros(0)]), depth)

    @classmethod
    def of_relevant(cls, users: np.ndarray, user: np.ndarray, gain: np.ndarray, depth: int) -> "Outcome":
        """What lists are measured by if only relevant videos are known, before those that a list holds are.

        Args:
            users: int64 [users], ascending, each with a relevant video.
            user, gain: of each relevant video, in any order, the user (as a position) and the gain.
            depth: of the lists.
        """
        order = np.lexsort((-gain, user))
        counts = np.bincount(user, minlength=len(users))
        nothing = np.zeros(0)
        best = Positions.of(counts)
        return cls(nothing, nothing, users, counts.astype(np.float64), best, gain[order], depth)

    def discounted_best(self, k: int) -> np.ndarray | None:
        """DCG of the gains in the best possible order at k, at most the depth: float64 [users].

        None where gains are binary. The same for every system, so it is computed once.
        """
        if self.best is None or self.best_gains is None:
            return None
        if k not in self._best_sums:
            # `of_hits` has the gains of all relevant videos, however many; no list is deeper than the depth.
            inside = self.best.rank < self.depth
            discounted = self.best_gains[inside] * discounts(self.depth)[self.best.rank[inside]]
            self._best_sums[k] = self.best.only(inside).sums(discounted, k)
        return self._best_sums[k]


def discounts(depth: int) -> np.ndarray:
    """The discount at each rank: 1 / log2(rank + 1), ranks from 1."""
    weights: np.ndarray = 1.0 / np.log2(np.arange(depth) + 2.0)
    return weights


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of the values from each start to the next: float64 [starts - 1]."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    sums: np.ndarray = np.diff(total[starts]).astype(np.float64)
    return sums
