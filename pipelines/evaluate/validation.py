"""Choices made on the validation users: the blend's weights, and how good the hybrid is at other filters."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nightreel.core.beside import work_beside
from nightreel.core.settings import ListSettings, RankerSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.evaluate.pair_scores import components, hybrid_of_pairs
from pipelines.evaluate.system_names import (
    ALS,
    CLASSIFIER,
    POPULARITY_BY_ENGAGEMENT,
    POPULARITY_BY_VIEWS,
    REGRESSOR,
)
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.blend import Blend, tuned_blend
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.hybrid import HybridRanker

# The scores that a blend may contain; between equal gains, the first one is taken.
_BLENDED = (CLASSIFIER, REGRESSOR, ALS, POPULARITY_BY_ENGAGEMENT, POPULARITY_BY_VIEWS)
_TUNED_AT = (10, 100)
_FILTERS = (20, 50, 100, 200, 500, 1000, 2000)


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


class ValidationPairs:
    """The validation users' pairs and their outcomes: measures the quality of any scores for them."""

    def __init__(
        self, user_id: np.ndarray, video_id: np.ndarray, liked: np.ndarray, plays: np.ndarray
    ) -> None:
        """One entry per pair.

        Args:
            plays: of its user.
        """
        self.user_id, self.video_id, self.plays = user_id, video_id, plays
        self._pairs = Order.by_video(user_id, video_id)
        self._outcome = Outcome.of(user_id, liked, None, max(_TUNED_AT))

    def quality(self, scores: np.ndarray) -> float:
        """Mean NDCG at 10 and 100; 0 where nobody liked anything."""
        lists = RankedLists.ordered(self._pairs.by_score(scores), self._outcome)
        if not len(lists.users):
            return 0.0
        return float(np.mean([ndcg_at_k(lists, k).mean() for k in _TUNED_AT]))


def tuned_on(
    pairs: ValidationPairs,
    scores: Mapping[str, np.ndarray],
    ranker: HybridRanker,
    catalogue: int,
    settings: RankerNeeds,
) -> Tuned:
    """Choose the blend's weights on the validation users, and measure other filters.

    Args:
        scores: of their pairs, by system.
        catalogue: the number of videos that lists are chosen from.
    """
    blended = [system for system in _BLENDED if system in scores]
    own = components(scores, settings.data.targets.label, blended)
    with work_beside(settings.threads) as start:
        blend = start(tuned_blend, own, {CLASSIFIER}, pairs.quality)
        hybrid = hybrid_of_pairs(
            pairs.user_id, pairs.video_id, scores, ranker, plays=pairs.plays, catalogue=catalogue
        )
        tried = _filters(catalogue, settings.ranker, settings.lists)
        filters = {k: pairs.quality(hybrid(k)) for k in tried}
        return Tuned(blend.result(), filters, len(np.unique(pairs.user_id)))


def _filters(catalogue: int, ranker: RankerSettings, lists: ListSettings) -> list[int]:
    """The values of filter_k to try: none below top_k, since those give the same lists."""
    own = filter_size(ranker, lists)
    tried = {filter_size(ranker, lists, k) for k in _FILTERS}
    return sorted({k for k in tried if k < catalogue} | {own})
