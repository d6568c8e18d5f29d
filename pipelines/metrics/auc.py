"""Area under the ROC curve, of all pairs together and of each user's alone.

AUC is the chance that a relevant pair scores above one that is not, ties counting half: the Mann-Whitney
statistic. Sources: Hanley and McNeil (Radiology 1982); grouped AUC: Zhu et al., Optimized Cost per Click
(KDD 2017).
"""

from collections.abc import Sequence

import numpy as np

from pipelines.metrics.loops import doubled_rank_sum, mean_ranks, relevant_ranks
from pipelines.metrics.orders import Order


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
    values = np.where(np.isnan(score), -np.inf, score)
    # Sorting values is several times as fast as sorting rows, and only relevant items need ranks.
    ascending = np.sort(values)
    return [_area(ascending, np.sort(values[relevant.astype(bool)])) for relevant in relevances]


def _area(ascending: np.ndarray, relevant: np.ndarray) -> float | None:
    """The AUC of relevant values among all, both ascending; None where all are relevant or none is."""
    positives, negatives = len(relevant), len(ascending) - len(relevant)
    if not positives or not negatives:
        return None
    # Sums of halves are exact.
    ranks = doubled_rank_sum(ascending, relevant) / 2
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def auc(score: np.ndarray, relevant: np.ndarray) -> float | None:
    """AUC over all pairs; None where all are relevant or none is."""
    return aucs(score, [relevant])[0]
