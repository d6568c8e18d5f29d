"""The input of every ranking metric: each user's videos in a system's order, with their true outcomes."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from pipelines.metrics.orders import Order
from pipelines.metrics.outcomes import Outcome, Positions, discounts


@dataclass(frozen=True)
class RankedLists:
    """The lists of all users that have a relevant video, each in rank order, as deep as metrics may ask.

    Attributes:
        users: int64 [users], ascending.
        listed: the positions in their lists, down to the outcome's depth.
        rows: int64, for each of these, the pair's position in the outcome's arrays.
        relevant_counts: float64 [users], at least 1, of the whole list.
        is_user: bool, which of the outcome's users these are: those with a relevant video, as no metric is
            defined for the others.
        whole: no list is longer than the depth.
    """

    users: np.ndarray
    listed: Positions
    rows: np.ndarray
    outcome: Outcome
    relevant_counts: np.ndarray
    is_user: np.ndarray
    whole: bool
    _hit_counts: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

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

        All arrays have one entry per pair, in any order.

        Args:
            gain: graded relevance; by default 1 where relevant.
        """
        order = Order.of(user_id, video_id, score)
        depth = int(order.lengths.max(initial=1))
        return cls.ordered(order, Outcome.of(user_id, relevant, gain, depth))

    @classmethod
    def ordered(cls, order: Order, outcome: Outcome) -> "RankedLists":
        """Lists in a given order, as deep as the outcome."""
        has_relevant = outcome.relevant_counts > 0
        listed = Positions.of(np.minimum(order.lengths[has_relevant], outcome.depth))
        return cls(
            users=order.users[has_relevant],
            listed=listed,
            rows=order.rows[order.starts[:-1][has_relevant][listed.user] + listed.rank],
            outcome=outcome,
            relevant_counts=outcome.relevant_counts[has_relevant],
            is_user=has_relevant,
            whole=bool(order.lengths.max(initial=0) <= outcome.depth),
        )

    @classmethod
    def of_hits(
        cls,
        users: np.ndarray,
        relevant: tuple[np.ndarray, np.ndarray],
        hits: tuple[np.ndarray, np.ndarray, np.ndarray],
        depth: int,
    ) -> "RankedLists":
        """Lists of which only the relevant positions are known; unlisted relevant videos count as missed.

        Args:
            users: int64 [users], ascending, each with a relevant video.
            relevant: the user (as a position) and the gain of each relevant video, in any order.
            hits: the user, rank from 0 and gain of each relevant video that a list holds, by user and rank.
            depth: of the lists.
        """
        return cls.of_relevant(Outcome.of_relevant(users, *relevant, depth), hits)

    @classmethod
    def of_relevant(cls, relevant: Outcome, hits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> "RankedLists":
        """The same, from the relevant videos as `Outcome.of_relevant` gives them for lists of any system."""
        users, (hit_user, rank, hit_gain) = relevant.users, hits
        outcome = replace(relevant, relevant=np.ones(len(hit_user), dtype=bool), gains=hit_gain)
        listed = Positions(len(users), hit_user.astype(np.int32), rank.astype(np.int32))
        everyone = np.ones(len(users), dtype=bool)
        rows = np.arange(len(hit_user))
        return cls(users, listed, rows, outcome, outcome.relevant_counts, everyone, whole=True)

    @property
    def left_out(self) -> int:
        """How many users have no relevant video."""
        return int(np.count_nonzero(~self.is_user))

    def hits(self, k: int) -> np.ndarray:
        """How many relevant videos are among the first k: float64 [users]."""
        depth = self._depth(k)
        if depth not in self._hit_counts:
            self._hit_counts[depth] = self._hits.counts(depth)
        return self._hit_counts[depth]

    def first_hit_rank(self) -> np.ndarray:
        """The rank of the first relevant video, from 1; infinite beyond the depth: float64 [users]."""
        first = np.full(len(self.users), np.inf)
        is_first = self._hit_numbers == 1
        first[self._hits.user[is_first]] = self._hits.rank[is_first] + 1.0
        return first

    def precision_sums(self, k: int, *, by_gain: bool = False) -> np.ndarray:
        """Sum of the precision at each relevant rank up to k.

        Args:
            by_gain: whether each summand is multiplied by its gain.

        Returns:
            float64 [users].
        """
        precision = self._hit_precision
        if by_gain:
            precision = precision * self._gains[self.outcome.relevant[self.rows]]
        return self._hits.sums(precision, self._depth(k))

    def discounted_relevant(self, k: int) -> np.ndarray:
        """DCG of the relevant videos, each of gain 1, at k: float64 [users]."""
        return self._hits.sums(self._discounts_of_hits, self._depth(k))

    def discounted_best_relevant(self, k: int) -> np.ndarray:
        """The same in the best possible order: float64 [users]."""
        depth = self._depth(k)
        sums = np.concatenate([[0.0], np.cumsum(discounts(depth))])
        best: np.ndarray = sums[np.minimum(self.relevant_counts, depth).astype(np.int64)]
        return best

    def discounted_gains(self, k: int) -> np.ndarray:
        """DCG of the gains at k: float64 [users]."""
        return self.listed.sums(self._gains * discounts(self.outcome.depth)[self.listed.rank], self._depth(k))

    def discounted_best_gains(self, k: int) -> np.ndarray:
        """DCG of the gains in the best possible order at k: float64 [users]."""
        best = self.outcome.discounted_best(self._depth(k))
        return self.discounted_best_relevant(k) if best is None else best[self.is_user]

    def gains_of_hits(self, k: int) -> np.ndarray:
        """The sum of the gains of the first k videos: float64 [users]."""
        return self.listed.sums(self._gains, self._depth(k))

    def gains_of_first(self, k: int) -> np.ndarray:
        """The gain of each of the first k videos, 0 beyond the end of a list: float64 [users, up to k]."""
        depth = self._depth(k)
        inside = self.listed.rank < depth
        table = np.zeros((len(self.users), depth))
        table[self.listed.user[inside], self.listed.rank[inside]] = self._gains[inside]
        return table

    @cached_property
    def _gains(self) -> np.ndarray:
        gains: np.ndarray = self.outcome.gains[self.rows].astype(np.float64)
        return gains

    @cached_property
    def _hits(self) -> Positions:
        return self.listed.only(self.outcome.relevant[self.rows])

    @cached_property
    def _hit_numbers(self) -> np.ndarray:
        """The first relevant video of a user is 1, the next one 2: int32 [hits]."""
        return Positions.of(np.bincount(self._hits.user, minlength=len(self.users))).rank + 1

    @cached_property
    def _hit_precision(self) -> np.ndarray:
        """The precision at each relevant video's rank: float64 [hits]."""
        precision: np.ndarray = self._hit_numbers / (self._hits.rank + 1.0)
        return precision

    @cached_property
    def _discounts_of_hits(self) -> np.ndarray:
        of_hits: np.ndarray = discounts(self.outcome.depth)[self._hits.rank]
        return of_hits

    def _depth(self, k: int) -> int:
        """k, or the depth of the lists where that is less.

        Raises:
            ValueError: for k below 1, or where lists were cut.
        """
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        if k > self.outcome.depth and not self.whole:
            raise ValueError(f"k is {k}; these lists were cut at {self.outcome.depth}")
        return min(k, self.outcome.depth)
