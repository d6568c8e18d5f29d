"""What the filter keeps and how what it keeps is ordered: the same for published and for evaluated lists.

Equal scores are common: new videos of which nothing is known, a classifier that has little to learn. What
decides between them is said here once, so that no list falls back to the smallest ids while anything else
tells the videos apart: the other stage, then how well all users received a video, then its views.
"""

from collections.abc import Callable

import numpy as np

from nightreel.settings import Settings
from pipelines.metrics import Order


def filter_size(settings: Settings, filter_k: int | None = None) -> int:
    """How many candidates the classifier hands on: filter_k, but never fewer than a list has room for.

    filter_k: another one than that of the settings, to be tried.
    """
    return max(settings.filter_k if filter_k is None else filter_k, settings.top_k)


def in_turn(*keys: np.ndarray) -> np.ndarray:
    """One number a row that orders as the first key does, and where that ties as the next: int64 [rows].

    Rows are equal where all keys are. keys: at least one, without NaN.
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

    values: float [videos], finite where asked for. among: bool [videos]. tie_break: given the positions that
    tie for the last of the room, what decides between them, highest first; ties that it leaves, or all of
    them without it, go to the first. Same as sorting all of them, but in time linear in the videos.
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


def hybrid_order(
    classifier_score: np.ndarray,
    ordering: np.ndarray,
    video_id: np.ndarray,
    filter_k: int,
    *,
    received: np.ndarray | None = None,
) -> np.ndarray:
    """Positions of one user's candidates in the hybrid's order, best first: int64 [candidates].

    The filter_k most probable by the classifier come first, the highest of `HybridRanker.ordering` leading;
    the others follow in the classifier's order. Where either stage ties, the other decides, then what is
    received better, and last the smaller video_id. received: as the function gives it.
    """
    well = np.zeros(len(video_id), dtype=np.int64) if received is None else received
    by_classifier = np.lexsort((video_id, -well, -ordering, -classifier_score))
    kept, rest = by_classifier[:filter_k], by_classifier[filter_k:]
    by_ordering = np.lexsort((video_id[kept], -well[kept], -classifier_score[kept], -ordering[kept]))
    return np.concatenate([kept[by_ordering], rest])


def hybrid_scores(
    user_id: np.ndarray,
    video_id: np.ndarray,
    classifier_score: np.ndarray,
    ordering: np.ndarray,
    *,
    filter_k: int,
    catalogue: int,
    received: np.ndarray | None = None,
) -> np.ndarray:
    """Scores that order the pairs of many users as `hybrid_order` orders one user's: float64 [pairs].

    All arrays have one entry a pair, in any order. catalogue: the number of videos; of a user with pairs for
    only a part of them, the filter keeps the same share, rounded up. received: of each pair's video.
    """
    order = Order.of(user_id, video_id, np.zeros(len(user_id)))
    kept = np.ceil(order.lengths * filter_k / catalogue).astype(np.int64)
    scores = np.empty(len(user_id))
    for start, end, keep in zip(order.starts[:-1], order.starts[1:], kept.tolist(), strict=True):
        rows = order.rows[start:end]
        own = None if received is None else received[rows]
        best = hybrid_order(classifier_score[rows], ordering[rows], video_id[rows], keep, received=own)
        scores[rows[best]] = -np.arange(start, end, dtype=np.float64)
    return scores
