"""Each user's videos in a system's order."""

from dataclasses import dataclass

import numpy as np

from pipelines.metrics.loops import rows_of_parts
from pipelines.metrics.radix_loops import rows_by_score


@dataclass(frozen=True)
class Order:
    """All pairs, user after user, each user's in a system's order.

    Attributes:
        users: int64 [users], ascending.
        starts: int64 [users + 1], where each user's pairs begin, the end last.
        rows: int64 [pairs], the position of each pair in the arrays it came from.
    """

    users: np.ndarray
    starts: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(
        cls,
        user_id: np.ndarray,
        video_id: np.ndarray,
        score: np.ndarray,
        tie_break: np.ndarray | None = None,
    ) -> "Order":
        """Order each user's videos by score, highest first; NaN comes last.

        Equal scores are ordered by tie_break, highest first, where there is one, then by video_id. All arrays
        have one entry per pair, in any order; input sorted by user and video is fastest.
        """
        return cls.by_video(user_id, video_id).by_score(score, tie_break)

    @classmethod
    def by_video(cls, user_id: np.ndarray, video_id: np.ndarray) -> "Order":
        """Order each user's videos by their ids; the arrays have one entry per pair, in any order."""
        base = _by_user_and_video(user_id, video_id)
        users, starts = runs(user_id[base])
        return cls(users, starts, base)

    def by_score(self, score: np.ndarray, tie_break: np.ndarray | None = None) -> "Order":
        """Each user's pairs by score, highest first, NaN last, then by tie_break, then in the order of these.

        Args:
            score, tie_break: one entry per pair, as `rows` count them.
        """
        rows = self.rows
        for key in (score,) if tie_break is None else (tie_break, score):
            rows = rows_by_score(rows, self.starts, np.ascontiguousarray(key, dtype=np.float64))
        return Order(self.users, self.starts, rows)

    @property
    def lengths(self) -> np.ndarray:
        """How many pairs each user has: int64 [users]."""
        return np.diff(self.starts)

    def first(self, depth: int, of_users: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Each user's first `depth` rows, best first; -1 where there are fewer.

        Args:
            of_users: a subset, as bool [users] or positions.

        Returns:
            int64 [users, depth].
        """
        ranks = np.arange(depth)
        inside = ranks < self.lengths[of_users, None]
        if not len(self.rows):
            return np.full(inside.shape, -1)
        rows = np.take(self.rows, self.starts[:-1][of_users, None] + ranks, mode="clip")
        rows[~inside] = -1
        return rows

    def parts(self, code: np.ndarray) -> "Order":
        """The same order within parts of each user's pairs, one part after the other.

        Args:
            code: int [pairs], the part of each pair, below 128; pairs with a negative code are left out.

        Returns:
            An order whose `users` are code * number of users + the user's position.
        """
        codes = code.astype(np.int8)
        rows, starts = rows_of_parts(self.rows, self.starts, codes, int(codes.max(initial=-1)) + 1)
        parts = np.flatnonzero(np.diff(starts))
        return Order(parts, np.append(starts[parts], len(rows)), rows)


def _by_user_and_video(user_id: np.ndarray, video_id: np.ndarray) -> np.ndarray:
    """Rows in order of user and video: int64 [pairs]."""
    same_user = user_id[1:] == user_id[:-1]
    if ascends(user_id) and bool((~same_user | (video_id[1:] >= video_id[:-1])).all()):
        return np.arange(len(user_id))
    return np.lexsort((video_id, user_id))


def ascends(values: np.ndarray) -> bool:
    """Whether no value is less than the one before."""
    return bool((values[1:] >= values[:-1]).all())


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of equal neighbours, and where each run of them begins, the end last."""
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    return values[starts], np.append(starts, len(values))
