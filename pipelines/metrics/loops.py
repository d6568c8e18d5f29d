"""Compiled loops over the positions of lists, for which NumPy needs several passes and copies."""

import numpy as np

from nightreel.core.compiled import compiled


@compiled
def sums_of_first(user: np.ndarray, rank: np.ndarray, values: np.ndarray, k: int, users: int) -> np.ndarray:
    """Each user's sum of the values at the first k ranks, added in the order given: float64 [users].

    Args:
        user, rank: int32, of each listed position; ranks from 0.
        values: float64, one for each position.
    """
    sums = np.zeros(users)
    for position in range(len(user)):
        if rank[position] < k:
            sums[user[position]] += values[position]
    return sums


@compiled
def counts_of_first(user: np.ndarray, rank: np.ndarray, k: int, users: int) -> np.ndarray:
    """How many of these positions each user has at the first k ranks: float64 [users]."""
    counts = np.zeros(users)
    for position in range(len(user)):
        if rank[position] < k:
            counts[user[position]] += 1.0
    return counts


@compiled
def doubled_rank_sum(ascending: np.ndarray, some: np.ndarray) -> int:
    """Twice the sum of the ranks, from 1, that some of these values have among all; ties share their mean.

    Args:
        ascending, some: float64, both ascending; without NaN.
    """
    total, below, up_to = 0, 0, 0
    for value in some:
        while ascending[below] < value:
            below += 1
        up_to = max(up_to, below)
        while up_to < len(ascending) and ascending[up_to] == value:
            up_to += 1
        total += below + 1 + up_to
    return total


@compiled
def rows_of_parts(
    rows: np.ndarray, starts: np.ndarray, code: np.ndarray, codes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each user's rows, split by code: the first code of all users, then the second, and so on.

    Args:
        rows: int64, user after user; `starts`, int64 [users + 1], says where each begins.
        code: int8, of each row by its number; rows with a negative one are left out.

    Returns:
        The rows, in the order given within a user's part, and int64 [codes * users + 1], where each begins.
    """
    users = len(starts) - 1
    ends = np.zeros(codes * users + 1, dtype=np.int64)
    for user in range(users):
        for position in range(starts[user], starts[user + 1]):
            own = code[rows[position]]
            if own >= 0:
                ends[own * users + user + 1] += 1
    for part in range(codes * users):
        ends[part + 1] += ends[part]
    following = ends[:-1].copy()
    found = np.empty(ends[-1], dtype=np.int64)
    for user in range(users):
        for position in range(starts[user], starts[user + 1]):
            own = code[rows[position]]
            if own >= 0:
                found[following[own * users + user]] = rows[position]
                following[own * users + user] += 1
    return found, ends
