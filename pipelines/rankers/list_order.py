"""What orders the videos that the filter keeps: the regressor, and what the log shows to help it.

The rankers learn from what was watched; a list is made of what was not. And they learn from a whole log, in
whose first days ALS knows little, so they may trust it less than it deserves by the end. So lists are made as
they would have been when the plays began that stop the models (which no tree has learnt from): of what each
user had not seen, from features of that instant. What the user then liked says which weights of the
classifier and of als_score beside the regressor rank best. They count only where NDCG gains by more than
chance; else the regressor orders alone.

Other sums were measured, and not taken: how well what was watched is ordered (it does not tell these scores
apart), and the number of views as a part (of what was watched most it tells best, whoever likes it: on
synthetic data that would be all of the order, and the worst one).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel import columns
from nightreel.settings import Settings
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.blend import Blend, tuned_blend
from pipelines.rankers.hybrid import HybridRanker, best_places, order_components
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.sides import Sides, sides_as_of
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import uniform_hash

_MEASURED_AT = (10, 100)
_MOST_USERS = 2_000
_STANDARD_ERRORS = 2.0
_BLOCK_USERS = 32


@dataclass(frozen=True)
class PastLists:
    """Lists of some users as of an instant, to be ordered by what they liked afterwards.

    user: int64, places of users, an entry a candidate; video: of videos. seen, liked: bool [users, videos],
    before and after the instant.
    """

    sides: Sides
    video_id: np.ndarray
    seen: np.ndarray
    liked: np.ndarray
    settings: Settings

    @classmethod
    def of(cls, data: TrainingData, store: FeatureStore, settings: Settings) -> "PastLists | None":
        """As of the beginning of data.slices.stop; None where nobody who was known then liked anything.

        Of many users some, by hash.
        """
        pair = [columns.USER_ID, columns.VIDEO_ID]
        stop = data.slices.stop
        before = data.plays[: stop.start].select(pair)
        liked = data.plays[stop].select(pair).filter(pl.Series(data.wanted.liked[stop]))
        liked = liked.filter(
            pl.col(columns.USER_ID).is_in(before[columns.USER_ID].unique().implode()),
            pl.col(columns.VIDEO_ID).is_in(before[columns.VIDEO_ID].unique().implode()),
        )
        if liked.is_empty():
            return None
        user_id = liked[columns.USER_ID].unique().sort().to_numpy()
        drawn = np.argsort(uniform_hash(user_id.astype(np.uint64), settings.seed), kind="stable")
        user_id = np.sort(user_id[drawn[:_MOST_USERS]])
        video_id = before[columns.VIDEO_ID].unique().sort().to_numpy()
        encoding, zone = data.encoding, settings.zone
        sides = sides_as_of(store, encoding, user_id, video_id, as_of=data.cuts.stop_from, zone=zone)

        def table(pairs: pl.DataFrame) -> np.ndarray:
            of_users = pairs.filter(pl.col(columns.USER_ID).is_in(pl.Series(user_id).implode()))
            found = np.zeros((len(user_id), len(video_id)), dtype=bool)
            user, video = (of_users[name].to_numpy() for name in pair)
            found[np.searchsorted(user_id, user), np.searchsorted(video_id, video)] = True
            return found

        return cls(sides, video_id, table(before), table(liked), settings)

    def best_order(self, ranker: HybridRanker) -> Blend:
        """The order that ranks these lists best."""
        pairs = PairRanker.of(ranker, self.sides)
        starts = range(0, len(self.seen), _BLOCK_USERS)
        with ThreadPoolExecutor(self.settings.threads) as pool:
            parts = list(pool.map(lambda start: list(self._kept(pairs, start)), starts))
        user, video, classified, regressed, als_score = (
            np.concatenate(column) for column in zip(*(row for part in parts for row in part), strict=True)
        )
        outcome = Outcome.of(user, self.liked[user, video], None, max(_MEASURED_AT))

        def quality(scores: np.ndarray) -> np.ndarray:
            lists = RankedLists.ordered(Order.of(user, video, scores), outcome)
            values: np.ndarray = np.mean([ndcg_at_k(lists, k) for k in _MEASURED_AT], axis=0)
            return values

        components = order_components(classified, regressed, als_score)
        return tuned_blend(components, columns.REGRESSOR_SCORE, quality, standard_errors=_STANDARD_ERRORS)

    def _kept(self, pairs: PairRanker, start: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Of each user of a block, what the filter keeps: user, video, and each stage's score of it."""
        users = np.arange(start, min(start + _BLOCK_USERS, len(self.seen)))
        block = pairs.block(users)
        for part, als, probability in block.classified():
            for place, own_als, of_videos in zip(range(part.start, part.stop), als, probability, strict=True):
                kept = best_places(of_videos, ~self.seen[users[place]], self.settings.filter_k)
                regressed = block.regressed(np.full(len(kept), place), kept, own_als[kept])
                yield np.full(len(kept), users[place]), kept, of_videos[kept], regressed, own_als[kept]


def with_fitted_order(ranker: HybridRanker, lists: PastLists | None) -> HybridRanker:
    """The same ranker with the order that suits past lists best; without any, the regressor orders alone."""
    return ranker if lists is None else replace(ranker, order=lists.best_order(ranker))
