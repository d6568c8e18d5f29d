"""Finds the best-scored videos, and decides between equal scores."""

from collections.abc import Callable

import numpy as np


def in_turn(*keys: np.ndarray) -> np.ndarray:
    """One number per row that orders by the first key, then by the next where that ties, and so on.

    Two rows get the same number only if all their keys are equal.

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
    """Reception of each video over all users, as one key: smoothed share of liked plays, then views: int64.

    NaN, where nothing is known, counts as 0.
    """
    return in_turn(np.nan_to_num(liked_share), np.nan_to_num(views))


def best_positions(
    values: np.ndarray,
    among: np.ndarray,
    most: int,
    tie_break: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Positions of the `most` largest values among some videos, ascending.

    Gives what a full sort would, in time linear in the number of videos.

    Args:
        values: float [videos], finite where asked for.
        among: bool [videos].
        tie_break: called with the positions that tie for the last free slots; returns a key for each, the
            highest of which win. Remaining ties go to the lowest position.
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


def first_open(order: np.ndarray, opened: np.ndarray, most: int) -> np.ndarray:
    """The first `most` positions of an order that are open, in that order: for lists that many users share.

    Args:
        order: int64, positions, best first.
        opened: bool [videos].
    """
    width = 2 * most
    while True:
        head = order[:width]
        found: np.ndarray = head[opened[head]]
        if len(found) >= most or width >= len(order):
            return found[:most]
        width *= 4
