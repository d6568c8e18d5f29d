"""The ranks of the relevant videos: average precision and reciprocal rank at k.

Sources: Manning, Raghavan and Schuetze (2008), section 8.4; Voorhees, TREC-8 Question Answering (1999).
"""

import numpy as np

from pipelines.metrics.ranked import RankedLists


def average_precision_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Sum of the precision at each relevant rank up to k, over the relevant videos: float64 [users].

    AP@k = 1/R * sum over i <= k of relevant_i * precision_at_i, R counting the relevant videos of the whole
    list, so that AP@k cannot reach 1 where R exceeds k. Its mean over users is MAP@k.
    """
    averages: np.ndarray = ranked.precision_sums(k) / ranked.relevant_counts
    return averages


def reciprocal_rank_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """1 / rank of the first relevant video, 0 if none is among the first k: float64 [users]."""
    is_hit = ranked.hits(k) > 0
    first = ranked.first_hit_rank()
    inverse: np.ndarray = np.divide(1.0, first, out=np.zeros_like(first), where=is_hit)
    return inverse
