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
def mean_ranks(rows: np.ndarray, starts: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Rank of each pair among its user's, 1 for the last of them; ties share their mean: float64 [pairs].

    Args:
        rows: int64, user after user, by falling score; `starts`, int64 [users + 1], says where each begins.
        score: float64, of each row by its number; NaN counts as the lowest.
    """
    found = np.empty(len(rows))
    for user in range(len(starts) - 1):
        first, end = starts[user], starts[user + 1]
        while first < end:
            value = score[rows[first]]
            lowest = np.isnan(value) or value == -np.inf
            last = end if lowest else first + 1
            while last < end and score[rows[last]] == value:
                last += 1
            # A run of ties takes consecutive ranks: their mean is that of the first and the last.
            found[first:last] = (end - first) - (last - first - 1) / 2
            first = last
    return found


@compiled
def relevant_ranks(
    rows: np.ndarray, starts: np.ndarray, ranks: np.ndarray, relevant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the ranks of each user's relevant pairs, and their number: float64 [users] each.

    Args:
        rows, starts: as in `mean_ranks`, which gives `ranks`.
        relevant: bool, of each row by its number.
    """
    sums, counts = np.zeros(len(starts) - 1), np.zeros(len(starts) - 1)
    for user in range(len(starts) - 1):
        for position in range(starts[user], starts[user + 1]):
            if relevant[rows[position]]:
                sums[user] += ranks[position]
                counts[user] += 1.0
    return sums, counts


@compiled
def doubled_rank_sums(ascending: np.ndarray, marks: np.ndarray, labels: int) -> np.ndarray:
    """Twice the sum of the ranks, from 1, of what is relevant by each label, and its number.

    Ties share the mean of their ranks. Sums of halves are exact, so twice a sum is a whole number.

    Args:
        ascending: the values, or numbers that are in their order.
        marks: uint8, for each value a bit for each label, set where it is relevant.

    Returns:
        int64 [2, labels].
    """
    found = np.zeros((2, labels), dtype=np.int64)
    first = 0
    while first < len(ascending):
        last = first + 1
        while last < len(ascending) and ascending[last] == ascending[first]:
            last += 1
        for position in range(first, last):
            for label in range(labels):
                if marks[position] >> label & 1:
                    found[0, label] += first + 1 + last
                    found[1, label] += 1
        first = last
    return found


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
