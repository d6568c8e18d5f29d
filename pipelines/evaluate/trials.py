"""What is compared: pairs of users and videos with their outcome, and every system's score for each pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel import columns
from nightreel.settings import Settings
from pipelines.evaluate.protocols import Pairs
from pipelines.local_days import INSTANT
from pipelines.rankers.hybrid import HybridRanker, hybrid_scores
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.training_frame import FeatureFrame

# The systems, in the order of the tables.
RANDOM = "random"
POPULARITY_BY_VIEWS = "popularity_by_views"
POPULARITY_BY_ENGAGEMENT = "popularity_by_engagement"
ALS = "als"
CLASSIFIER = "classifier"
REGRESSOR = "regressor"
HYBRID = "hybrid"
TRUTH = "truth"

_FROM_FEATURES = {
    POPULARITY_BY_VIEWS: columns.VIDEO_AGG_VIEWS,
    POPULARITY_BY_ENGAGEMENT: columns.VIDEO_AGG_LIKED_SHARE,
    ALS: columns.ALS_SCORE,
}
_PROBABILITY_LIKED = "probability_liked"
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Trial:
    """A protocol's pairs with every system's scores, one entry a pair in each array.

    scores: system -> float64. NaN, where a system knows nothing of a pair, ranks last.
    """

    protocol: str
    user_id: np.ndarray
    video_id: np.ndarray
    watch_ratio: np.ndarray
    scores: dict[str, np.ndarray]


def trial(pairs: Pairs, *, store: FeatureStore, ranker: HybridRanker, settings: Settings) -> Trial:
    """Score every pair with every system, from features as they were known at `pairs.as_of`."""
    rows = pairs.rows.with_columns(pl.lit(pairs.as_of, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP))
    frame = FeatureFrame.join(store, rows, settings.zone)
    user_id, video_id = rows[columns.USER_ID].to_numpy(), rows[columns.VIDEO_ID].to_numpy()
    scores = {RANDOM: np.random.default_rng(settings.seed).random(rows.height)}
    scores |= _scores_of_features_and_models(FeatureMatrix(frame, ranker.encoding), ranker)
    scores[HYBRID] = hybrid_scores(
        user_id,
        video_id,
        scores[CLASSIFIER],
        scores[REGRESSOR],
        filter_k=settings.filter_k,
        catalogue=pairs.catalogue,
    )
    truth = _truth(pairs.rows, settings)
    if truth is not None:
        scores[TRUTH] = truth
    ratios = rows[columns.WATCH_RATIO].to_numpy().astype(np.float64)
    return Trial(pairs.protocol, user_id, video_id, ratios, scores)


def _scores_of_features_and_models(matrix: FeatureMatrix, ranker: HybridRanker) -> dict[str, np.ndarray]:
    scores = {name: np.empty(len(matrix)) for name in (*_FROM_FEATURES, CLASSIFIER, REGRESSOR)}
    for rows in _blocks(len(matrix)):
        block = matrix[rows]
        for system, feature in _FROM_FEATURES.items():
            scores[system][rows] = block[:, matrix.names.index(feature)]
        scores[CLASSIFIER][rows] = ranker.classify(block)
        scores[REGRESSOR][rows] = ranker.regress(block)
    return scores


def _blocks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, rows))


def truth_file(settings: Settings) -> Path:
    """Where synthetic data keeps the truth behind it."""
    return settings.raw_dir / "truth" / "expected_watch_ratio.parquet"


def _truth(pairs: pl.DataFrame, settings: Settings) -> np.ndarray | None:
    """The true probability that each pair is liked; None where the data has no truth for every pair."""
    path = truth_file(settings)
    if not path.is_file():
        return None
    known = pl.read_parquet(path, columns=[columns.USER_ID, columns.VIDEO_ID, _PROBABILITY_LIKED])
    joined = pairs.select(columns.USER_ID, columns.VIDEO_ID).join(
        known, on=[columns.USER_ID, columns.VIDEO_ID], how="left", maintain_order="left"
    )[_PROBABILITY_LIKED]
    return None if joined.null_count() else joined.cast(pl.Float64).to_numpy()
