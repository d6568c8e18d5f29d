"""Normalised discounted cumulative gain, binary and graded.

DCG@k = sum over i <= k of gain_i / log2(i + 1), the gain entering as it is; NDCG@k divides by the DCG@k of
the best possible order of all the user's pairs, not only of those that the system listed. Source: Jaervelin
and Kekaelaeinen, Cumulated gain-based evaluation of IR techniques (ACM TOIS 2002), with the discount of
Burges et al. (2005).
"""

import numpy as np

from pipelines.metrics.ranked import RankedLists


def ndcg_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """NDCG@k with gain 1 for a relevant video and 0 for others: float64 [users]."""
    return _shares(ranked.discounted_relevant(k), ranked.discounted_best_relevant(k))


def graded_ndcg_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """NDCG@k with the gains of the lists: float64 [users]. A user whose gains are all 0 gets 0."""
    return _shares(ranked.discounted_gains(k), ranked.discounted_best_gains(k))


def own_list_ndcg_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """DCG@k over the DCG of the best order of the system's own first k: float64 [users].

    As the original work on KuaiRec computed it; no measure of quality: a bad list in the right order gets 1,
    and a list without gain 0. Kept to reproduce published figures.
    """
    own = -np.sort(-ranked.gains_of_first(k), axis=1)
    best = (own / np.log2(np.arange(own.shape[1]) + 2.0)).sum(axis=1)
    return _shares(ranked.discounted_gains(k), best)


def _shares(reached: np.ndarray, possible: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.divide(reached, possible, out=np.zeros_like(reached), where=possible > 0)
    return shares
