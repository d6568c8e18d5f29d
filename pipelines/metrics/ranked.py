"""What every ranking metric reads: each user's videos in a system's order, with what truly came of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Order:
    """All pairs, user after user, each user's in a system's order.

    users: int64 [users], ascending. starts: int64 [users + 1], where each user's pairs begin, the end last.
    rows: int64 [pairs], the place of each pair in the arrays that it came from.
    """

    users: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, user_id: np.ndarray, video_id: np.ndarray, score: np.ndarray) -> "Order":
        """Order each user's videos by score, highest first; equal scores by video_id; NaN comes last.

        All arrays have one entry a pair, in any order.
        """
        rows = np.lexsort((video_id, -score, user_id))
        users, starts = np.unique(user_id[rows], return_index=True)
        return cls(users, np.append(starts, len(rows)), rows)

    @property
    def lengths(self) -> np.ndarray:
        """How many pairs each user has: int64 [users]."""
        return np.diff(self.starts)

    def first(self, depth: int) -> np.ndarray:
        """Each user's first `depth` rows, best first; -1 where there are fewer: int64 [users, depth]."""
        places = self.starts[:-1, None] + np.arange(depth)
        inside = np.arange(depth) < self.lengths[:, None]
        return np.where(inside, self.rows[np.where(inside, places, 0)] if len(self.rows) else -1, -1)

    def regrouped(self, group: np.ndarray) -> "Order":
        """The same order within other groups: group, int64 [pairs], takes the place of the user.

        A group's pairs must be of one user. Pairs of a negative group are left out.
        """
        rows = self.rows[group[self.rows] >= 0]
        rows = rows[np.argsort(group[rows], kind="stable")]
        groups, starts = np.unique(group[rows], return_index=True)
        return Order(groups, np.append(starts, len(rows)), rows)


@dataclass(frozen=True)
class Outcome:
    """What truly came of pairs, whatever a system thinks of them.

    relevant: bool [pairs]. gains: float [pairs], at least 0, the graded worth of the video to the user.
    users: int64 [users], ascending; relevant_counts: float64 [users], each user's relevant videos.
    best_gains: float64 [users, depth], the largest gains of each, descending, 0 where there are fewer.
    """

    relevant: np.ndarray
    gains: np.ndarray
    users: np.ndarray
    relevant_counts: np.ndarray
    best_gains: np.ndarray

    @classmethod
    def of(cls, user_id: np.ndarray, relevant: np.ndarray, gain: np.ndarray | None, depth: int) -> "Outcome":
        """One entry a pair, in any order. gain: graded worth; by default 1 where relevant."""
        hits = relevant.astype(bool)
        gains = hits.astype(np.float64) if gain is None else gain
        best = Order.of(user_id, np.arange(len(gains)), gains)
        first = best.first(depth)
        counts = _sums(hits[best.rows], best.starts)
        return cls(hits, gains, best.users, counts, _taken(gains, first))


@dataclass(frozen=True)
class RankedLists:
    """The lists of all users that have a relevant video, each in rank order, as deep as metrics may ask.

    users: int64 [users], ascending. relevant: bool [users, depth]. gains, best_gains: float64 [users, depth],
    in the system's and in the best possible order. Beyond the end of a list all of them are 0.
    relevant_counts: float64 [users], at least 1, of the whole list. left_out: users without a relevant video;
    no metric is defined for them, so none counts them. whole: no list is longer than depth.
    """

    users: np.ndarray
    relevant: np.ndarray
    gains: np.ndarray
    relevant_counts: np.ndarray
    best_gains: np.ndarray
    left_out: int
    whole: bool

    @classmethod
    def of(
        cls,
        user_id: np.ndarray,
        video_id: np.ndarray,
        score: np.ndarray,
        relevant: np.ndarray,
        gain: np.ndarray | None = None,
    ) -> "RankedLists":
        """Whole lists by score, highest first; equal scores by video_id; NaN comes last.

        All arrays have one entry a pair, in any order. gain: graded worth; by default 1 where relevant.
        """
        order = Order.of(user_id, video_id, score)
        depth = int(order.lengths.max(initial=1))
        return cls.ordered(order, Outcome.of(user_id, relevant, gain, depth))

    @classmethod
    def ordered(cls, order: Order, outcome: Outcome) -> "RankedLists":
        """Lists in an order that is known already, as deep as the outcome's best gains."""
        has_relevant = outcome.relevant_counts > 0
        depth = outcome.best_gains.shape[1]
        first = order.first(depth)[has_relevant]
        return cls(
            users=order.users[has_relevant],
            relevant=_taken(outcome.relevant, first) > 0,
            gains=_taken(outcome.gains, first),
            relevant_counts=outcome.relevant_counts[has_relevant],
            best_gains=outcome.best_gains[has_relevant],
            left_out=int(len(has_relevant) - has_relevant.sum()),
            whole=bool(order.lengths.max(initial=0) <= depth),
        )

    @cached_property
    def found(self) -> np.ndarray:
        """How many relevant videos stand up to each place: float64 [users, depth]."""
        found: np.ndarray = np.cumsum(self.relevant, axis=1, dtype=np.float64)
        return found

    @cached_property
    def precisions(self) -> np.ndarray:
        """Sums, up to each place, of the precision at the relevant places: float64 [users, depth]."""
        ranks = np.arange(1, self.relevant.shape[1] + 1)
        sums: np.ndarray = np.cumsum(np.where(self.relevant, self.found / ranks, 0.0), axis=1)
        return sums

    @cached_property
    def discounted_relevant(self) -> np.ndarray:
        """DCG of `relevant` at each place: float64 [users, depth]."""
        return self._discounted(self.relevant)

    @cached_property
    def discounted_best_relevant(self) -> np.ndarray:
        """DCG of `relevant` in the best possible order at each place: float64 [users, depth]."""
        return self._discounted(np.arange(self.relevant.shape[1]) < self.relevant_counts[:, None])

    @cached_property
    def discounted_gains(self) -> np.ndarray:
        """DCG of `gains` at each place: float64 [users, depth]."""
        return self._discounted(self.gains)

    @cached_property
    def discounted_best_gains(self) -> np.ndarray:
        """DCG of `best_gains` at each place: float64 [users, depth]."""
        return self._discounted(self.best_gains)

    def at(self, sums: np.ndarray, k: int) -> np.ndarray:
        """The sums up to place k: float64 [users]. Raises ValueError for k below 1 or beyond the lists."""
        depth = sums.shape[1]
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        if k > depth and not self.whole:
            raise ValueError(f"k is {k}; these lists were cut at {depth}")
        return sums[:, min(k, depth) - 1]

    def _discounted(self, values: np.ndarray) -> np.ndarray:
        discounts = 1.0 / np.log2(np.arange(values.shape[1]) + 2.0)
        sums: np.ndarray = np.cumsum(values * discounts, axis=1)
        return sums


def _taken(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of these rows, 0 for row -1: float64 of the shape of rows."""
    if not rows.size:
        return np.zeros(rows.shape)
    return np.where(rows >= 0, values[rows], 0).astype(np.float64)


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of the values from each start to the next: float64 [starts - 1]."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    sums: np.ndarray = np.diff(total[starts]).astype(np.float64)
    return sums
