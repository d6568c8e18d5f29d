"""What is compared: pairs of users and videos with their outcomes, and every system's score for each pair."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from feast import FeatureStore
from scipy.special import expit

from nightreel.core import columns
from nightreel.core.settings import DataSettings, ListSettings, RankerSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.evaluate.catalogue import Videos, plays_of_users
from pipelines.evaluate.protocols import Pairs
from pipelines.evaluate.system_names import (
    ALS,
    BLEND,
    CLASSIFIER,
    HYBRID,
    POPULARITY_BY_ENGAGEMENT,
    POPULARITY_BY_VIEWS,
    RANDOM,
    REGRESSOR,
    TRANSFORMER,
    TRUTH,
    in_order,
)
from pipelines.evaluate.transformer import transformer_scores
from pipelines.labels import DURATION, Label, LengthBuckets, Targets, labels_of, targets
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.model_rows.ordering import received
from pipelines.model_rows.sides import sides_as_of
from pipelines.rankers.blend import Blend, log_odds, logarithm, tuned_blend
from pipelines.rankers.common_order import plays_of
from pipelines.rankers.filtering import filter_size, hybrid_scores
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.pair_ranker import als_scores_of_pairs, scores_of_pairs

_FROM_VIDEOS = {
    POPULARITY_BY_VIEWS: columns.VIDEO_AGG_VIEWS,
    POPULARITY_BY_ENGAGEMENT: columns.VIDEO_AGG_LIKED_SHARE,
}
# What the blend may be of; where gains are equal, the first one counts.
_BLENDED = (CLASSIFIER, REGRESSOR, ALS, POPULARITY_BY_ENGAGEMENT, POPULARITY_BY_VIEWS)
_PAIR = [columns.USER_ID, columns.VIDEO_ID]
_PROBABILITY_LIKED = "probability_liked"
_TUNED_AT = (10, 100)
_FILTERS = (20, 50, 100, 200, 500, 1000, 2000)


@dataclass(frozen=True)
class Models:
    """What is evaluated: the champion's rankers and its labels."""

    ranker: HybridRanker
    buckets: LengthBuckets


@dataclass(frozen=True)
class Tuned:
    """What was chosen on the validation users.

    Attributes:
        blend: the weights of the blended system.
        filters: the hybrid's quality by filter_k.
        users: the number of validation users; if 0, everything is as set.
    """

    blend: Blend
    filters: Mapping[int, float]
    users: int


@dataclass(frozen=True)
class Trial:
    """The reported pairs of a protocol with every system's scores, one entry a pair in each array.

    Sorted by user and video.

    Attributes:
        video: int, the index of each pair's video in `videos`.
        kind: int8, index in KINDS: the pair was watched before, the video never by anyone, or neither.
        scores: system -> float64; NaN, where a system knows nothing of a pair, ranks last.
        targets: those of the pairs, by label.
        plays: int64, the number of earlier plays of each user (`users`, ascending).
    """

    protocol: str
    user_id: np.ndarray
    video_id: np.ndarray
    video: np.ndarray
    watch_ratio: np.ndarray
    kind: np.ndarray
    scores: Mapping[str, np.ndarray]
    targets: Mapping[Label, Targets]
    users: np.ndarray
    plays: np.ndarray
    videos: Videos
    tuned: Tuned


KINDS = ("first watch", "re-watch", "new video")


def trial(pairs: Pairs, *, store: FeatureStore, models: Models, settings: RankerNeeds) -> Trial:
    """Score every pair with every system, from features as they were known at `pairs.as_of`."""
    rows = pairs.rows
    user_id, video_id, ratio, length = (
        rows[name].to_numpy()
        for name in (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO, columns.VIDEO_DURATION)
    )
    scores = {RANDOM: np.random.default_rng(settings.seed).random(len(user_id))}
    of_models, plays = _of_features_and_models(pairs, store, models, settings.data, settings.threads)
    scores |= of_models
    transformer = transformer_scores(pairs, settings)
    if transformer is not None:
        scores[TRANSFORMER] = transformer
    is_tuning = pairs.is_tuning(settings.evaluation, settings.seed)
    if is_tuning.all():
        is_tuning = np.zeros(len(is_tuning), dtype=bool)
    play_targets = {
        label: targets(label, models.buckets, ratio, length, settings.data)
        for label in labels_of(settings.data)
    }
    tuned = _tuned(
        _Tuning(
            user_id[is_tuning],
            video_id[is_tuning],
            play_targets[settings.data.label].liked[is_tuning],
            plays[is_tuning],
        ),
        {system: values[is_tuning] for system, values in scores.items()},
        models.ranker,
        pairs.catalogue,
        settings,
    )
    kept = ~is_tuning
    # One after the other, so that memory never holds both.
    reported = {system: scores.pop(system)[kept] for system in list(scores)}
    reported[HYBRID] = _hybrid(
        user_id[kept],
        video_id[kept],
        reported,
        models.ranker,
        plays=plays[kept],
        filter_k=filter_size(settings.ranker, settings.lists),
        catalogue=pairs.catalogue,
    )
    counting = [system for system, weight in tuned.blend.weights.items() if weight]
    reported[BLEND] = tuned.blend.scores(_components(reported, settings.data.label, counting))
    truth = _truth(rows, settings.data)
    if truth is not None:
        reported[TRUTH] = truth[kept]
    videos = Videos.of(pairs, settings.paths, settings.data)
    users = np.unique(user_id[kept])
    return Trial(
        pairs.protocol,
        user_id[kept],
        video_id[kept],
        np.searchsorted(videos.video_id, video_id[kept]).astype(np.int32),
        ratio[kept],
        _kinds(pairs)[kept],
        {system: reported[system] for system in in_order(reported)},
        {
            label: Targets(all_.liked[kept], all_.amount[kept], all_.top)
            for label, all_ in play_targets.items()
        },
        users,
        plays_of_users(pairs, users),
        videos,
        tuned,
    )


def _tuned(
    tuning: "_Tuning",
    scores: Mapping[str, np.ndarray],
    ranker: HybridRanker,
    catalogue: int,
    settings: RankerNeeds,
) -> Tuned:
    """What the tuning users choose.

    Args:
        scores: of their pairs.
    """
    filters = {
        k: tuning.quality(
            _hybrid(
                tuning.user_id,
                tuning.video_id,
                scores,
                ranker,
                plays=tuning.plays,
                filter_k=k,
                catalogue=catalogue,
            )
        )
        for k in _filters(catalogue, settings.ranker, settings.lists)
    }
    blended = [system for system in _BLENDED if system in scores]
    blend = tuned_blend(_components(scores, settings.data.label, blended), {CLASSIFIER}, tuning.quality)
    return Tuned(blend, filters, len(np.unique(tuning.user_id)))


class _Tuning:
    """The validation users' pairs and their outcomes: measures the quality of any scores for them."""

    def __init__(
        self, user_id: np.ndarray, video_id: np.ndarray, liked: np.ndarray, plays: np.ndarray
    ) -> None:
        """One entry per pair.

        Args:
            plays: of its user.
        """
        self.user_id, self.video_id, self.plays = user_id, video_id, plays
        self._outcome = Outcome.of(user_id, liked, None, max(_TUNED_AT))

    def quality(self, scores: np.ndarray) -> float:
        """Mean NDCG at 10 and 100; 0 where nobody liked anything."""
        lists = RankedLists.ordered(Order.of(self.user_id, self.video_id, scores), self._outcome)
        if not len(lists.users):
            return 0.0
        return float(np.mean([ndcg_at_k(lists, k).mean() for k in _TUNED_AT]))


def _filters(catalogue: int, ranker: RankerSettings, lists: ListSettings) -> list[int]:
    """What is tried: no two that come to the same, so none below top_k."""
    own = filter_size(ranker, lists)
    tried = {filter_size(ranker, lists, k) for k in _FILTERS}
    return sorted({k for k in tried if k < catalogue} | {own})


def _hybrid(
    user_id: np.ndarray,
    video_id: np.ndarray,
    scores: Mapping[str, np.ndarray],
    ranker: HybridRanker,
    *,
    plays: np.ndarray,
    filter_k: int,
    catalogue: int,
) -> np.ndarray:
    ordering = ranker.ordering(scores[REGRESSOR], scores[ALS])
    if not ranker.shrinkage.changes_nothing:
        video = np.unique(video_id, return_inverse=True)[1]
        common = np.bincount(video, ordering) / np.bincount(video)
        ordering = ranker.shrinkage.applied(ordering, common[video], plays)
    return hybrid_scores(
        user_id,
        video_id,
        scores[CLASSIFIER],
        ordering,
        filter_k=filter_k,
        catalogue=catalogue,
        received=received(scores[POPULARITY_BY_ENGAGEMENT], scores[POPULARITY_BY_VIEWS]),
    )


def _components(
    scores: Mapping[str, np.ndarray], label: Label, systems: Iterable[str]
) -> dict[str, np.ndarray]:
    """The scores of some systems, each on the scale on which it adds up."""
    odds = {CLASSIFIER, POPULARITY_BY_ENGAGEMENT} | ({REGRESSOR} if label == DURATION else set())
    amounts = {POPULARITY_BY_VIEWS, REGRESSOR} - odds
    return {
        system: log_odds(values) if system in odds else logarithm(values) if system in amounts else values
        for system, values in ((system, scores[system]) for system in systems)
    }


def _of_features_and_models(
    pairs: Pairs, store: FeatureStore, models: Models, settings: DataSettings, threads: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each pair's scores by system, and how much its user had played."""
    users, user = np.unique(pairs.rows[columns.USER_ID].to_numpy(), return_inverse=True)
    videos, video = np.unique(pairs.rows[columns.VIDEO_ID].to_numpy(), return_inverse=True)
    sides = sides_as_of(store, models.ranker.encoding, users, videos, as_of=pairs.as_of, zone=settings.zone)
    als = als_scores_of_pairs(sides, user, video)
    scores = {
        system: sides.video_feature(feature).astype(np.float64)[video]
        for system, feature in _FROM_VIDEOS.items()
    }
    scores[ALS] = als.astype(np.float64)
    fitted = {CLASSIFIER: models.ranker.classifier, REGRESSOR: models.ranker.regressor}
    for system, booster in fitted.items():
        scores[system] = scores_of_pairs(booster, sides, user, video, als, threads=threads)
    scores[CLASSIFIER] = expit(scores[CLASSIFIER])
    return scores, plays_of(sides)[user]


def _kinds(pairs: Pairs) -> np.ndarray:
    """Each pair's index in KINDS: int8 [pairs]."""
    own = pairs.rows.select(_PAIR).lazy()
    # Of a long history, first what is of these pairs at all.
    watched = pairs.history.select(_PAIR).join(own, on=_PAIR, how="semi").unique()
    known = pairs.history.select(columns.VIDEO_ID).unique()
    rows = (
        own.join(watched.with_columns(pl.lit(1).alias("pair")), on=_PAIR, how="left", maintain_order="left")
        .join(
            known.with_columns(pl.lit(1).alias("video")),
            on=columns.VIDEO_ID,
            how="left",
            maintain_order="left",
        )
        .collect()
    )
    is_new, is_again = rows["video"].is_null().to_numpy(), rows["pair"].is_not_null().to_numpy()
    return np.where(is_new, np.int8(2), is_again.astype(np.int8))


def truth_file(settings: DataSettings) -> Path:
    """The file in which synthetic data keep their true probabilities."""
    return settings.raw_dir / "truth" / "expected_watch_ratio.parquet"


def _truth(pairs: pl.DataFrame, settings: DataSettings) -> np.ndarray | None:
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
