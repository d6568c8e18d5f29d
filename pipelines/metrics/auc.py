"""Area under the ROC curve, of all pairs together and of each user's alone.

AUC is the chance that a relevant pair scores above one that is not, ties counting half: the Mann-Whitney
statistic. Sources: Hanley and McNeil (Radiology 1982); grouped AUC: Zhu et al., Optimized Cost per Click
(KDD 2017).
"""

from collections.abc import Sequence

import numpy as np

from pipelines.metrics.loops import doubled_rank_sums, mean_ranks, relevant_ranks
from pipelines.metrics.orders import Order
from pipelines.metrics.radix_loops import rising

_LABELS_AT_ONCE = 8  # bits of a mark


def ascending_ranks(order: Order, score: np.ndarray) -> np.ndarray:
    """Rank of each pair among its user's pairs, 1 for the lowest score; ties share their mean rank.

    Args:
        score: float64 [pairs], the scores that `order` was made of; NaN ranks lowest, tied.

    Returns:
        float64 [pairs], in the order of `order.rows`.
    """
    ranks: np.ndarray = mean_ranks(order.rows, order.starts, score.astype(np.float64, copy=False))
    return ranks


def auc_of_users(order: Order, ranks: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Each user's AUC.

    Args:
        ranks: what `ascending_ranks` returned.
        relevant: bool [pairs], indexed by `order.rows`.

    Returns:
        float64 [users]; NaN for a user whose pairs are all relevant, or none of them.
    """
    # Sums of halves are exact in any order.
    rank_sums, positives = relevant_ranks(order.rows, order.starts, ranks, relevant.astype(bool, copy=False))
    negatives = order.lengths - positives
    won = rank_sums - positives * (positives + 1) / 2
    pairs = positives * negatives
    areas: np.ndarray = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas


def grouped_auc(
    user_id: np.ndarray, score: np.ndarray, relevant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC of each user's own pairs.

    Args:
        score: float64; NaN counts as the lowest score, tied. All arrays have one entry per pair, in any
            order.
        relevant: bool.

    Returns:
        user_id int64 [users] and AUC float64 [users]. Users whose pairs are all relevant, or none of them,
        are left out.
    """
    order = Order.of(user_id, np.zeros(len(user_id), dtype=np.int8), score)
    areas = auc_of_users(order, ascending_ranks(order, score), relevant)
    exists = ~np.isnan(areas)
    return order.users[exists], areas[exists]


def aucs(score: np.ndarray, relevances: Sequence[np.ndarray]) -> list[float | None]:
    """AUC over all pairs, one value per array of relevance; None where all are relevant or none is."""
    found: list[float | None] = []
    scores = np.ascontiguousarray(score, dtype=np.float64)
    for first in range(0, len(relevances), _LABELS_AT_ONCE):
        labels = relevances[first : first + _LABELS_AT_ONCE]
        marks = np.zeros(len(scores), dtype=np.uint8)
        for label, relevant in enumerate(labels):
            marks |= relevant.astype(bool).view(np.uint8) << np.uint8(label)
        doubled, counts = doubled_rank_sums(*rising(scores, marks), len(labels)).tolist()
        found += [_area(*sums, len(scores)) for sums in zip(doubled, counts, strict=True)]
    return found


def _area(doubled_ranks: int, positives: int, pairs: int) -> float | None:
    """The AUC, from twice the sum of the relevant pairs' ranks; None where all are relevant or none is."""
    negatives = pairs - positives
    if not positives or not negatives:
        return None
    return (doubled_ranks / 2 - positives * (positives + 1) / 2) / (positives * negatives)


def auc(score: np.ndarray, relevant: np.ndarray) -> float | None:
    """AUC over all pairs; None where all are relevant or none is."""
    return aucs(score, [relevant])[0]
