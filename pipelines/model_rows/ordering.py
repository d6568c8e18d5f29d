"""Which of many videos score best, and what decides between equal scores."""

from collections.abc import Callable

import numpy as np


def in_turn(*keys: np.ndarray) -> np.ndarray:
    """One number a row that orders as the first key does, and where that ties as the next.

    Rows are equal where all keys are.

    Args:
        keys: at least one, without NaN.

    Returns:
        int64 [rows].
    """
    order = np.lexsort(keys[::-1])
    differs = np.zeros(len(order), dtype=np.int64)
    for key in keys:
        differs[1:] |= key[order[1:]] != key[order[:-1]]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.cumsum(differs)
    return rank


def received(liked_share: np.ndarray, views: np.ndarray) -> np.ndarray:
    """How well all users received each video, by its smoothed share of liked plays, then by its views: int64.

    Both NaN where nothing is known, which counts as 0.
    """
    return in_turn(np.nan_to_num(liked_share), np.nan_to_num(views))


def best_positions(
    values: np.ndarray,
    among: np.ndarray,
    most: int,
    tie_break: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Positions of the `most` largest values among some videos, ascending.

    Same as sorting all of them, but in time linear in the videos.

    Args:
        values: float [videos], finite where asked for.
        among: bool [videos].
        tie_break: given the positions that tie for the last of the room, what decides between them, highest
            first; ties that it leaves, or all of them without it, go to the first.
    """
    positions = np.flatnonzero(among)
    if most < 1 or len(positions) <= most:
        return positions[:most]
    of_positions = values[positions]
    least = np.partition(of_positions, len(positions) - most)[len(positions) - most]
    above = of_positions > least
    tied, room = np.flatnonzero(of_positions == least), most - int(above.sum())
    if tie_break is not None and len(tied) > room:
        tied = tied[np.argsort(-tie_break(positions[tied]), kind="stable")]
    above[tied[:room]] = True
    found: np.ndarray = positions[above]
    return found
