"""How many of the first k are relevant: precision, recall and hit rate at k.

Source: Manning, Raghavan and Schuetze, Introduction to Information Retrieval (2008), sections 8.3 and 8.4.
"""

import numpy as np

from pipelines.metrics.ranked import RankedLists


def precision_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Relevant videos among the first k, divided by k (also where a list is shorter): float64 [users]."""
    return ranked.hits(k) / k


def recall_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Share of the user's relevant videos that are among the first k: float64 [users]."""
    shares: np.ndarray = ranked.hits(k) / ranked.relevant_counts
    return shares


def hit_rate_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """1 if a relevant video is among the first k, else 0: float64 [users]."""
    return (ranked.hits(k) > 0).astype(np.float64)
