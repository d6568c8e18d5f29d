"""From a trial to figures: every metric of every system at every k, with its interval over users."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nightreel.settings import Settings
from pipelines.evaluate.trials import Trial
from pipelines.metrics import (
    RankedLists,
    auc,
    average_precision_at_k,
    bootstrap_intervals,
    graded_ndcg_at_k,
    grouped_auc,
    hit_rate_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)

CUTOFFS = (10, 20, 50, 100, 200, 500, 1000)
RATIO = "ratio"  # the label: watch_ratio above like_threshold
ALL = "all"  # the slice of all users
Values = dict[tuple[str, int | None], np.ndarray]  # (metric, k) -> float64 [users]
METRICS: dict[str, Callable[[RankedLists, int], np.ndarray]] = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "ndcg_graded": graded_ndcg_at_k,
    "map": average_precision_at_k,
    "mrr": reciprocal_rank_at_k,
    "hit_rate": hit_rate_at_k,
}


@dataclass(frozen=True)
class Figure:
    """One number of the evaluation: a mean over users, with its 95 % bootstrap interval.

    k, low and high are None where the metric has none. users: how many the mean is over.
    """

    protocol: str
    label: str
    system: str
    metric: str
    k: int | None
    slice: str
    value: float
    low: float | None
    high: float | None
    users: int


def figures(trial: Trial, system: str, settings: Settings) -> Iterator[Figure]:
    """Every figure of a system. Liked: watch_ratio above like_threshold; graded gain: the clipped ratio.

    Users without a liked pair have no figure and are left out. A figure that does not exist is left out too.
    """
    liked = trial.watch_ratio > settings.like_threshold
    gains = np.clip(trial.watch_ratio, 0.0, settings.watch_ratio_clip)
    scores = trial.scores[system]
    ranked = RankedLists.of(trial.user_id, trial.video_id, scores, liked, gains)
    at_k: Values = {(metric, k): METRICS[metric](ranked, k) for metric in METRICS for k in CUTOFFS}
    yield from _means(trial.protocol, system, at_k, settings.seed)
    _, areas = grouped_auc(trial.user_id, scores, liked)
    yield from _means(trial.protocol, system, {("gauc", None): areas}, settings.seed)
    pooled = auc(scores, liked)
    if pooled is not None:
        users = len(np.unique(trial.user_id))
        yield Figure(trial.protocol, RATIO, system, "auc", None, ALL, pooled, None, None, users)


def _means(protocol: str, system: str, values: Values, seed: int) -> Iterator[Figure]:
    """The means of values of the same users, by metric and k, with their intervals."""
    table = np.column_stack(list(values.values()))
    if not len(table):
        return
    intervals = bootstrap_intervals(table, seed=seed).T.tolist()
    for (metric, k), mean, (low, high) in zip(values, table.mean(axis=0).tolist(), intervals, strict=True):
        yield Figure(protocol, RATIO, system, metric, k, ALL, mean, low, high, len(table))
