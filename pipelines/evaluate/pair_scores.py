"""Each system's scores for pairs of users and videos, as of an instant."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from feast import FeatureStore
from scipy.special import expit

from nightreel.core import columns
from nightreel.core.settings import DataSettings
from pipelines.evaluate.protocols import Pairs
from pipelines.evaluate.system_names import (
    ALS,
    CLASSIFIER,
    POPULARITY_BY_ENGAGEMENT,
    POPULARITY_BY_VIEWS,
    REGRESSOR,
)
from pipelines.labels import DURATION, Label, LengthBuckets
from pipelines.model_rows.joined_features import join_features
from pipelines.model_rows.ordering import received
from pipelines.rankers.blend import log_odds, logarithm
from pipelines.rankers.common_order import plays_of
from pipelines.rankers.filtering import hybrid_scores
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.pair_ranker import als_scores_of_pairs, scores_of_pairs
from pipelines.retrieval.past import ids_and_codes

_PAIR = [columns.USER_ID, columns.VIDEO_ID]

_FROM_VIDEOS = {
    POPULARITY_BY_VIEWS: columns.VIDEO_AGG_VIEWS,
    POPULARITY_BY_ENGAGEMENT: columns.VIDEO_AGG_LIKED_SHARE,
}
_PROBABILITY_LIKED = "probability_liked"


@dataclass(frozen=True)
class Models:
    """The evaluated model: the champion's rankers and its labels."""

    ranker: HybridRanker
    buckets: LengthBuckets


def scores_and_plays(
    pairs: Pairs, store: FeatureStore, models: Models, settings: DataSettings, threads: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each pair's scores by system, and how much its user had played."""
    users, user = ids_and_codes(pairs.rows[columns.USER_ID].to_numpy())
    videos, video = ids_and_codes(pairs.rows[columns.VIDEO_ID].to_numpy())
    joined = join_features(
        store, models.ranker.encoding, users, videos, as_of=pairs.as_of, zone=settings.zone
    )
    als = als_scores_of_pairs(joined, user, video)
    scores = {
        system: joined.video_feature(feature).astype(np.float64)[video]
        for system, feature in _FROM_VIDEOS.items()
    }
    scores[ALS] = als.astype(np.float64)
    fitted = {CLASSIFIER: models.ranker.classifier, REGRESSOR: models.ranker.regressor}
    for system, booster in fitted.items():
        scores[system] = scores_of_pairs(booster, joined, user, video, als, threads=threads)
    scores[CLASSIFIER] = expit(scores[CLASSIFIER])
    return scores, plays_of(joined)[user]


def hybrid_of_pairs(
    user_id: np.ndarray,
    video_id: np.ndarray,
    scores: Mapping[str, np.ndarray],
    ranker: HybridRanker,
    *,
    plays: np.ndarray,
    catalogue: int,
) -> Callable[[int], np.ndarray]:
    """How the hybrid scores pairs, given how many videos of the catalogue its classifier keeps.

    Args:
        scores: of the systems that it is made of.
        plays: the number of earlier plays of each pair's user.
        catalogue: the number of videos that lists are chosen from.

    Returns:
        From `filter_k` to scores that put each user's pairs in the hybrid's order: float64 [pairs].
    """
    videos, video = ids_and_codes(video_id)
    ordering = ranker.ordering(scores[REGRESSOR], scores[ALS])
    if not ranker.shrinkage.changes_nothing:
        common = np.bincount(video, ordering) / np.bincount(video)
        ordering = ranker.shrinkage.applied(ordering, common[video], plays)
    # How well a video was received is the same in each of its pairs.
    pair = np.empty(len(videos), dtype=np.int64)
    pair[video] = np.arange(len(video))
    well = received(scores[POPULARITY_BY_ENGAGEMENT][pair], scores[POPULARITY_BY_VIEWS][pair])[video]
    return lambda filter_k: hybrid_scores(
        user_id,
        video_id,
        scores[CLASSIFIER],
        ordering,
        filter_k=filter_k,
        catalogue=catalogue,
        received=well,
    )


def components(
    scores: Mapping[str, np.ndarray], label: Label, systems: Iterable[str]
) -> dict[str, np.ndarray]:
    """The scores of some systems, each on the scale on which it adds up."""
    odds = {CLASSIFIER, POPULARITY_BY_ENGAGEMENT} | ({REGRESSOR} if label == DURATION else set())
    amounts = {POPULARITY_BY_VIEWS, REGRESSOR} - odds
    return {
        system: log_odds(values) if system in odds else logarithm(values) if system in amounts else values
        for system, values in ((system, scores[system]) for system in systems)
    }


def truth_file(settings: DataSettings) -> Path:
    """The file in which synthetic data keep their true probabilities."""
    return settings.raw_dir / "truth" / "expected_watch_ratio.parquet"


def true_probabilities(pairs: pl.DataFrame, settings: DataSettings) -> np.ndarray | None:
    """The true probability that each pair is liked; None where the data has no truth for every pair."""
    path = truth_file(settings)
    if not path.is_file():
        return None
    own = pairs.select(columns.USER_ID, columns.VIDEO_ID).lazy()
    # The truth covers the fully observed pairs only: most others need not be looked up.
    known = pl.scan_parquet(path).select(columns.USER_ID, columns.VIDEO_ID, _PROBABILITY_LIKED)
    if own.head(1).join(known, on=_PAIR, how="anti").collect().height:
        return None
    joined = own.join(known, on=_PAIR, how="left", maintain_order="left").collect()[_PROBABILITY_LIKED]
    return None if joined.null_count() else joined.cast(pl.Float64).to_numpy()
