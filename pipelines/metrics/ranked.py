"""What every ranking metric reads: each user's videos in a system's order, with what truly came of them."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

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

        All arrays have one entry a pair, in any order; sorted by user and video it is fastest.
        """
        base = _by_user_and_video(user_id, video_id)
        users, starts = _runs(user_id[base])
        rows = np.empty(len(base), dtype=np.int64)
        for start, end in pairwise(starts.tolist()):
            own = base[start:end]
            rows[start:end] = own[_descending(score[own])]
        return cls(users, starts, rows)

    @property
    def lengths(self) -> np.ndarray:
        """How many pairs each user has: int64 [users]."""
        return np.diff(self.starts)

    def first(self, depth: int, of_users: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Each user's first `depth` rows, best first; -1 where there are fewer: int64 [users, depth].

        of_users: only of these, as bool [users] or by place.
        """
        places = np.arange(depth)
        inside = places < self.lengths[of_users, None]
        if not len(self.rows):
            return np.full(inside.shape, -1)
        rows = np.take(self.rows, self.starts[:-1][of_users, None] + places, mode="clip")
        rows[~inside] = -1
        return rows

    def parts(self, code: np.ndarray) -> "Order":
        """The same order within parts of each user's pairs, part after part: of group code * users + user.

        code: int [pairs], the part of each pair, below 128; pairs of a negative one are left out. Of a user
        the place counts.
        """
        codes = np.take(code.astype(np.int8), self.rows)
        # A stable sort of bytes takes time linear in the pairs, and leaves users together.
        places = np.argsort(codes, kind="stable")[np.count_nonzero(codes < 0) :]
        user = np.repeat(np.arange(len(self.users)), self.lengths)
        groups, starts = _runs(codes[places].astype(np.int64) * len(self.users) + user[places])
        return Order(groups, starts, self.rows[places])


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
        order = np.arange(len(user_id)) if _ascends(user_id) else np.argsort(user_id, kind="stable")
        users, starts = _runs(user_id[order])
        return cls.of_groups(Order(users, starts, order), relevant, gain, depth)

    @classmethod
    def of_groups(cls, groups: Order, relevant: np.ndarray, gain: np.ndarray | None, depth: int) -> "Outcome":
        """The same of groups of pairs, whatever the order within a group."""
        hits = relevant.astype(bool)
        counts = _sums(hits[groups.rows], groups.starts)
        if gain is None:
            best = (np.arange(depth) < counts[:, None]).astype(np.float64)
            return cls(hits, hits.astype(np.float64), groups.users, counts, best)
        best = np.zeros((len(groups.users), depth))
        for place, (start, end) in enumerate(pairwise(groups.starts.tolist())):
            largest = np.sort(gain[groups.rows[start:end]])[::-1][:depth]
            best[place, : len(largest)] = largest
        return cls(hits, gain, groups.users, counts, best)


@dataclass(frozen=True)
class RankedLists:
    """The lists of all users that have a relevant video, each in rank order, as deep as metrics may ask.

    users: int64 [users], ascending. first: int64 [users, depth], the pairs of each list by their place in the
    outcome's arrays, -1 beyond the end. relevant_counts: float64 [users], at least 1, of the whole list.
    best_gains: float64 [users, depth], in the best possible order. left_out: users without a relevant video;
    no metric is defined for them, so none counts them. whole: no list is longer than depth.
    """

    users: np.ndarray
    first: np.ndarray
    outcome: Outcome
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
        return cls(
            users=order.users[has_relevant],
            first=order.first(depth, has_relevant),
            outcome=outcome,
            relevant_counts=outcome.relevant_counts[has_relevant],
            best_gains=outcome.best_gains[has_relevant],
            left_out=int(len(has_relevant) - has_relevant.sum()),
            whole=bool(order.lengths.max(initial=0) <= depth),
        )

    @cached_property
    def relevant(self) -> np.ndarray:
        """Whether each place is of a relevant video: bool [users, depth], False beyond the end of a list."""
        return _taken(self.outcome.relevant, self.first)

    @cached_property
    def gains(self) -> np.ndarray:
        """The gain of each place: float64 [users, depth], 0 beyond the end of a list."""
        gains: np.ndarray = _taken(self.outcome.gains, self.first).astype(np.float64)
        return gains

    def found(self, k: int) -> np.ndarray:
        """How many relevant videos stand among the first k: float64 [users]."""
        sums: np.ndarray = self.relevant[:, : self._depth(k)].sum(axis=1, dtype=np.float64)
        return sums

    def precision_sums(self, k: int) -> np.ndarray:
        """The sum of the precision at the relevant ones of the first k places: float64 [users]."""
        sums: np.ndarray = self._precisions[:, : self._depth(k)].sum(axis=1)
        return sums

    def discounted_relevant(self, k: int) -> np.ndarray:
        """DCG of `relevant` at k: float64 [users]."""
        return self._discounted(self._hits, k)

    def discounted_best_relevant(self, k: int) -> np.ndarray:
        """DCG of `relevant` in the best possible order at k: float64 [users]."""
        depth = self._depth(k)
        sums = np.concatenate([[0.0], np.cumsum(_discounts(depth))])
        best: np.ndarray = sums[np.minimum(self.relevant_counts, depth).astype(np.int64)]
        return best

    def discounted_gains(self, k: int) -> np.ndarray:
        """DCG of `gains` at k: float64 [users]."""
        return self._discounted(self.gains, k)

    def discounted_best_gains(self, k: int) -> np.ndarray:
        """DCG of `best_gains` at k: float64 [users]."""
        return self._discounted(self.best_gains, k)

    @cached_property
    def _hits(self) -> np.ndarray:
        return self.relevant.astype(np.float64)

    @cached_property
    def _precisions(self) -> np.ndarray:
        """The precision at each relevant place, 0 at others: float64 [users, depth]."""
        found = np.cumsum(self.relevant, axis=1, dtype=np.int32)
        shares: np.ndarray = found / np.arange(1, found.shape[1] + 1)
        return np.where(self.relevant, shares, 0.0)

    def _depth(self, k: int) -> int:
        """Place k, or the last that there is. Raises ValueError for k below 1, or where lists were cut."""
        depth = int(self.first.shape[1])
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        if k > depth and not self.whole:
            raise ValueError(f"k is {k}; these lists were cut at {depth}")
        return min(k, depth)

    def _discounted(self, values: np.ndarray, k: int) -> np.ndarray:
        depth = self._depth(k)
        sums: np.ndarray = values[:, :depth] @ _discounts(depth)
        return sums


def _discounts(depth: int) -> np.ndarray:
    """What a gain at each place counts: 1 / log2(place + 1)."""
    weights: np.ndarray = 1.0 / np.log2(np.arange(depth) + 2.0)
    return weights


def _by_user_and_video(user_id: np.ndarray, video_id: np.ndarray) -> np.ndarray:
    """Rows in order of user and video: int64 [pairs]."""
    same_user = user_id[1:] == user_id[:-1]
    if _ascends(user_id) and bool((~same_user | (video_id[1:] >= video_id[:-1])).all()):
        return np.arange(len(user_id))
    return np.lexsort((video_id, user_id))


def _ascends(values: np.ndarray) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of equal neighbours, and where each run of them begins, the end last."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    return values[starts], np.append(starts, len(values))


def _descending(score: np.ndarray) -> np.ndarray:
    """The stable order of falling scores, NaN last: int64."""
    order = np.argsort(-score)
    ordered = score[order]
    # The quick sort is several times as fast as the stable one; only where scores are equal they may differ.
    if np.isnan(ordered[-1]) or bool((ordered[1:] == ordered[:-1]).any()):
        return np.argsort(-score, kind="stable")
    return order


def _taken(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of these rows, 0 (or False) for row -1: of the shape of rows."""
    if not len(values):
        return np.zeros(rows.shape, dtype=values.dtype)
    taken: np.ndarray = np.take(values, rows, mode="clip")
    taken[rows < 0] = 0
    return taken


def _sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of the values from each start to the next: float64 [starts - 1]."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    sums: np.ndarray = np.diff(total[starts]).astype(np.float64)
    return sums
