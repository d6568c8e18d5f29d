"""Metrics of rankings, by definition: a kind per file, a value per user, vectorised over users."""

from pipelines.metrics.auc import ascending_ranks, auc, auc_of_users, aucs, grouped_auc
from pipelines.metrics.average_precision import average_precision_at_k, reciprocal_rank_at_k
from pipelines.metrics.beyond_accuracy import (
    category_diversity,
    coverage,
    exposures,
    gini,
    means_of_first,
    repeats,
)
from pipelines.metrics.hits import hit_rate_at_k, precision_at_k, recall_at_k
from pipelines.metrics.intervals import Bootstrap, bootstrap_intervals, interval_of_draws
from pipelines.metrics.inverse_exposure import (
    exposure_weights,
    weighted_average_precision_at_k,
    weighted_hit_rate_at_k,
    weighted_ndcg_at_k,
    weighted_precision_at_k,
    weighted_recall_at_k,
)
from pipelines.metrics.ndcg import graded_ndcg_at_k, ndcg_at_k
from pipelines.metrics.orders import Order
from pipelines.metrics.outcomes import Outcome
from pipelines.metrics.prediction_error import (
    Reliability,
    brier_score,
    mean_absolute_error,
    reliability,
    root_mean_square_error,
)
from pipelines.metrics.ranked import RankedLists

__all__ = [
    "Bootstrap",
    "Order",
    "Outcome",
    "RankedLists",
    "Reliability",
    "ascending_ranks",
    "auc",
    "auc_of_users",
    "aucs",
    "average_precision_at_k",
    "bootstrap_intervals",
    "brier_score",
    "category_diversity",
    "coverage",
    "exposure_weights",
    "exposures",
    "gini",
    "graded_ndcg_at_k",
    "grouped_auc",
    "hit_rate_at_k",
    "interval_of_draws",
    "mean_absolute_error",
    "means_of_first",
    "ndcg_at_k",
    "precision_at_k",
    "recall_at_k",
    "reciprocal_rank_at_k",
    "reliability",
    "repeats",
    "root_mean_square_error",
    "weighted_average_precision_at_k",
    "weighted_hit_rate_at_k",
    "weighted_ndcg_at_k",
    "weighted_precision_at_k",
    "weighted_recall_at_k",
]
