"""The filter and the order of what it keeps, the same for published and for evaluated lists.

Equal scores are common: for new videos of which nothing is known, or from a classifier with little to learn.
The tie-breakers are defined here, once: the other stage's score, then how well all users received the video,
then its views, and only then the smaller id.
"""

import numpy as np

from nightreel.core.settings import ListSettings, RankerSettings
from pipelines.metrics import Order


def filter_size(ranker: RankerSettings, lists: ListSettings, filter_k: int | None = None) -> int:
    """How many candidates the classifier keeps: filter_k, but at least the length of a list.

    Args:
        filter_k: overrides the setting, to try another value.
    """
    return max(ranker.filter_k if filter_k is None else filter_k, lists.top_k)


def hybrid_order(
    classifier_score: np.ndarray,
    ordering: np.ndarray,
    video_id: np.ndarray,
    filter_k: int,
    *,
    received: np.ndarray | None = None,
) -> np.ndarray:
    """Positions of one user's candidates in the hybrid's order, best first.

    The filter_k most probable by the classifier come first, the highest of `HybridRanker.ordering` leading;
    the others follow in the classifier's order. Where either stage ties, the other decides, then what is
    received better, and last the smaller video_id.

    Args:
        received: int64 [candidates], from `received`; higher is better.

    Returns:
        int64 [candidates].
    """
    well = np.zeros(len(video_id), dtype=np.int64) if received is None else received
    by_classifier = np.arange(len(video_id))
    if filter_k < len(video_id):
        by_classifier = np.argsort(-classifier_score)
        best_first = classifier_score[by_classifier]
        if not (best_first[1:] < best_first[:-1]).all():
            by_classifier = np.lexsort((video_id, -well, -ordering, -classifier_score))
    kept, rest = by_classifier[:filter_k], by_classifier[filter_k:]
    by_ordering = np.argsort(-ordering[kept])
    best_first = ordering[kept[by_ordering]]
    if not (best_first[1:] < best_first[:-1]).all():
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
    """Scores that order the pairs of many users as `hybrid_order` orders one user's.

    All arrays have one entry per pair, in any order.

    Args:
        catalogue: the number of videos; for a user with pairs for only some of them, the filter keeps the
            same share, rounded up.
        received: int64, the reception of each pair's video.

    Returns:
        float64 [pairs].
    """
    order = Order.by_video(user_id, video_id)
    kept = np.ceil(order.lengths * filter_k / catalogue).astype(np.int64)
    scores = np.empty(len(user_id))
    for start, end, keep in zip(order.starts[:-1], order.starts[1:], kept.tolist(), strict=True):
        rows = order.rows[start:end]
        own = None if received is None else received[rows]
        best = hybrid_order(classifier_score[rows], ordering[rows], video_id[rows], keep, received=own)
        scores[rows[best]] = -np.arange(start, end, dtype=np.float64)
    return scores
