"""Metrics of rankings, by definition: one family a file, a value a user, vectorised over all users."""

from pipelines.metrics.auc import auc, grouped_auc
from pipelines.metrics.average_precision import average_precision_at_k, reciprocal_rank_at_k
from pipelines.metrics.found import hit_rate_at_k, precision_at_k, recall_at_k
from pipelines.metrics.intervals import bootstrap_intervals
from pipelines.metrics.ndcg import graded_ndcg_at_k, ndcg_at_k
from pipelines.metrics.ranked import RankedLists

__all__ = [
    "RankedLists",
    "auc",
    "average_precision_at_k",
    "bootstrap_intervals",
    "graded_ndcg_at_k",
    "grouped_auc",
    "hit_rate_at_k",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
    "reciprocal_rank_at_k",
]
