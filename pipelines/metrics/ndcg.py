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


def _shares(reached: np.ndarray, possible: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.divide(reached, possible, out=np.zeros_like(reached), where=possible > 0)
    return shares
