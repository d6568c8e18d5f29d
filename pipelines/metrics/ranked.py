"""What every ranking metric reads: each user's videos in a system's order, with what truly came of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class RankedLists:
    """The lists of all users that have a relevant video, one after the other, each in rank order.

    users: int64 [users], ascending. starts: int64 [users + 1], where each user's rows begin, the end last.
    relevant: bool [rows]. gains: float64 [rows], at least 0, the graded worth of the video to the user.
    left_out: users without a relevant video; no metric is defined for them, so none counts them.
    """

    users: np.ndarray
    starts: np.ndarray
    relevant: np.ndarray
    gains: np.ndarray
    left_out: int

    @classmethod
    def of(
        cls,
        user_id: np.ndarray,
        video_id: np.ndarray,
        score: np.ndarray,
        relevant: np.ndarray,
        gain: np.ndarray | None = None,
    ) -> "RankedLists":
        """Order each user's videos by score, highest first; equal scores by video_id; NaN comes last.

        All arrays have one entry a pair, in any order. gain: graded worth; by default 1 where relevant.
        """
        order = np.lexsort((video_id, -score, user_id))
        users, starts = np.unique(user_id[order], return_index=True)
        starts = np.append(starts, len(order))
        gains = (relevant if gain is None else gain).astype(np.float64)[order]
        hits = relevant.astype(bool)[order]
        has_relevant = (
            np.add.reduceat(hits, starts[:-1], dtype=np.int64) > 0 if len(users) else np.zeros(0, bool)
        )
        kept = np.repeat(has_relevant, np.diff(starts))
        lengths = np.diff(starts)[has_relevant]
        return cls(
            users=users[has_relevant],
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            relevant=hits[kept],
            gains=gains[kept],
            left_out=int(len(users) - has_relevant.sum()),
        )

    @cached_property
    def ranks(self) -> np.ndarray:
        """Each row's place in its user's list, from 1: int64 [rows]."""
        places = np.arange(1, len(self.relevant) + 1)
        ranks: np.ndarray = places - np.repeat(self.starts[:-1], np.diff(self.starts))
        return ranks

    @cached_property
    def relevant_counts(self) -> np.ndarray:
        """Each user's relevant videos, at least 1: float64 [users]."""
        return self.sums_of_first(self.relevant, None)

    @cached_property
    def best_relevant(self) -> np.ndarray:
        """`relevant` in the best possible order of each user's pairs: bool [rows]."""
        best: np.ndarray = self.ranks <= np.repeat(self.relevant_counts, np.diff(self.starts))
        return best

    @cached_property
    def best_gains(self) -> np.ndarray:
        """`gains` in the best possible order of each user's pairs: float64 [rows]."""
        user = np.repeat(np.arange(len(self.users)), np.diff(self.starts))
        best: np.ndarray = self.gains[np.lexsort((-self.gains, user))]
        return best

    @cached_property
    def discounts(self) -> np.ndarray:
        """1 / log2(rank + 1): float64 [rows]."""
        discounts: np.ndarray = 1.0 / np.log2(self.ranks + 1.0)
        return discounts

    def sums_of_first(self, values: np.ndarray, k: int | None) -> np.ndarray:
        """The sum of each user's first k values (all, where k is None): float64 [users].

        values: one a row, in rank order. k is at least 1.
        """
        if k is not None and k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        if not len(self.users):
            return np.zeros(0)
        first, last = self.starts[:-1], self.starts[1:]
        stop = last if k is None else np.minimum(first + k, last)
        # reduceat sums from each index to the next: every other sum is one of ours. The zero at the end gives
        # the last stop something to point at.
        borders = np.column_stack([first, stop]).ravel()
        sums: np.ndarray = np.add.reduceat(np.append(values.astype(np.float64), 0.0), borders)[::2]
        return sums
