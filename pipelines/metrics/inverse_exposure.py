"""Metrics that count a relevant video by the inverse of how often it was shown, not as one.

A video that is shown often is played often, so lists that follow exposure look good by plain metrics. With
w = 1 / propensity of being shown, clipped and normalised by the user's own weights (self-normalised), it does
not. With equal weights each metric is the plain one. Every one reads `RankedLists` whose gains are weights.

Sources: Yang et al., Unbiased Offline Recommender Evaluation for Missing-Not-At-Random Implicit Feedback
(RecSys 2018); Swaminathan and Joachims, The Self-Normalized Estimator for Counterfactual Learning (NeurIPS
2015); clipping: Strehl et al., Learning from Logged Implicit Exploration Data (NeurIPS 2010).
"""

import numpy as np

from pipelines.metrics.ndcg import graded_ndcg_at_k
from pipelines.metrics.ranked import RankedLists

CLIP = 0.01


def exposure_weights(exposure: np.ndarray) -> np.ndarray:
    """The weight of each video.

    w = 1 / max(n / n_max, CLIP), n being the exposure and n_max the highest.

    Args:
        exposure: at least 0.

    Returns:
        float64 [videos], from 1 for the most exposed to 1 / CLIP.
    """
    share = exposure / max(float(exposure.max(initial=0)), 1.0)
    weights: np.ndarray = 1.0 / np.maximum(share, CLIP)
    return weights


def weighted_recall_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Sum of w over the relevant videos of the first k, over that of all relevant ones: float64 [users]."""
    shares: np.ndarray = ranked.gains_of_hits(k) / _best(ranked, None)
    return shares


def weighted_precision_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Precision of a list that finds the same share of the weight that the best list finds: float64 [users].

    Sum of w found to k / the largest such sum * min(R, k) / k, R being the user's relevant videos.
    """
    best = np.minimum(ranked.relevant_counts, k) / k
    shares: np.ndarray = ranked.gains_of_hits(k) / _best(ranked, k) * best
    return shares


def weighted_hit_rate_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """The largest w found to k over the largest of the user's relevant videos: float64 [users]."""
    inside = ranked.listed.rank < k
    largest = np.zeros(len(ranked.users))
    gains = ranked.outcome.gains[ranked.rows].astype(np.float64)
    np.maximum.at(largest, ranked.listed.user[inside], gains[inside])
    shares: np.ndarray = largest / _best(ranked, 1)
    return shares


def weighted_ndcg_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """NDCG@k with w as the gain of a relevant video: float64 [users]."""
    return graded_ndcg_at_k(ranked, k)


def weighted_average_precision_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """Sum of w * precision at each relevant rank up to k, over the sum of w of all relevant videos."""
    averages: np.ndarray = ranked.precision_sums(k, by_gain=True) / _best(ranked, None)
    return averages


def _best(ranked: RankedLists, k: int | None) -> np.ndarray:
    """The largest possible sum of gains of k videos, or of all: float64 [users]."""
    best, gains = ranked.outcome.best, ranked.outcome.best_gains
    assert best is not None and gains is not None
    return best.sums(gains, np.iinfo(np.int32).max if k is None else k)
