"""The pairs of users and videos with their outcomes, and every system's score for each pair."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.beside import work_beside
from nightreel.core.settings.needs import RankerNeeds
from pipelines.evaluate.catalogue import Videos
from pipelines.evaluate.history import History
from pipelines.evaluate.pair_scores import (
    Models,
    components,
    hybrid_of_pairs,
    scores_and_plays,
    true_probabilities,
)
from pipelines.evaluate.protocols import Pairs
from pipelines.evaluate.system_names import (
    BLEND,
    HYBRID,
    RANDOM,
    TRANSFORMER,
    TRUTH,
    in_order,
)
from pipelines.evaluate.transformer import transformer_scores
from pipelines.evaluate.validation import Tuned, ValidationPairs, tuned_on
from pipelines.labels import Label, Targets, labels_of, targets
from pipelines.rankers.filtering import filter_size


@dataclass(frozen=True)
class Trial:
    """The reported pairs of a protocol with every system's scores, one entry a pair in each array.

    Sorted by user and video.

    Attributes:
        video: int, the index of each pair's video in `videos`.
        kind: int8, index in KINDS: the pair was watched before, the video never by anyone, or neither.
        scores: system -> float64; NaN, for a pair that a system knows nothing about, ranks last.
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
    of_models, plays = scores_and_plays(pairs, store, models, settings.data, settings.threads)
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
    with work_beside(settings.threads) as start:
        facts = start(_facts_of_pairs, pairs, settings)
        tuned = tuned_on(
            ValidationPairs(
                user_id[is_tuning],
                video_id[is_tuning],
                play_targets[settings.data.targets.label].liked[is_tuning],
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
        reported[HYBRID] = hybrid_of_pairs(
            user_id[kept],
            video_id[kept],
            reported,
            models.ranker,
            plays=plays[kept],
            catalogue=pairs.catalogue,
        )(filter_size(settings.ranker, settings.lists))
        counting = [system for system, weight in tuned.blend.weights.items() if weight]
        reported[BLEND] = tuned.blend.scores(components(reported, settings.data.targets.label, counting))
        truth = true_probabilities(rows, settings.data)
        if truth is not None:
            reported[TRUTH] = truth[kept]
    users = np.unique(user_id[kept])
    history, videos, kinds = facts.result()
    return Trial(
        pairs.protocol,
        user_id[kept],
        video_id[kept],
        np.searchsorted(videos.video_id, video_id[kept]).astype(np.int32),
        ratio[kept],
        kinds[kept],
        {system: reported[system] for system in in_order(reported)},
        {
            label: Targets(all_.liked[kept], all_.amount[kept], all_.top)
            for label, all_ in play_targets.items()
        },
        users,
        history.plays_of(users),
        videos,
        tuned,
    )


def kinds_of(pairs: Pairs, history: History) -> np.ndarray:
    """Each pair's index in KINDS: int8 [pairs]."""
    video = np.searchsorted(history.video_id, pairs.rows[columns.VIDEO_ID].to_numpy())
    is_new = (history.views == 0)[video]
    return np.where(is_new, np.int8(2), history.is_again)


def _facts_of_pairs(pairs: Pairs, settings: RankerNeeds) -> tuple[History, Videos, np.ndarray]:
    history = History.of(pairs)
    return history, Videos.of(pairs, history, settings.paths, settings.data), kinds_of(pairs, history)
