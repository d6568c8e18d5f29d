"""The order of the videos that the filter keeps: the regressor's, with als_score if that ranks better.

The rankers learn from a whole log, in whose first days ALS knows little, so they may trust als_score less
than it deserves by the end. So lists are made as of the start of the early-stopping window, from which no
tree has learnt: of videos that the user had not seen, with the features of that instant. What the user liked
next decides whether als_score counts, with a quarter of the regressor's weight. It counts only if two
conditions hold; otherwise the regressor orders alone:

- DCG over the users gains by more than chance.
- It also gains if each liked video is weighted by the inverse of its plays (inverse propensity: Schnabel et
  al., Recommendations as Treatments, ICML 2016). Videos that are shown often are liked often: a score that
  follows exposure seems to rank better, but would not for a user who is shown everything.

Why both conditions, and no larger weights: docs/decisions/list-order.md.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.settings.needs import RankerNeeds
from pipelines.hashing import uniform_hash
from pipelines.metrics import Order, Outcome, RankedLists
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.model_rows.ordering import best_positions, in_turn
from pipelines.rankers.blend import Blend
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.hybrid import HybridRanker, order_components
from pipelines.rankers.pair_ranker import PairRanker, UserBlock
from pipelines.rankers.training_data import TrainingData

_MEASURED_AT = (10, 100)
_MOST_USERS = 2_000
_STANDARD_ERRORS = 3.0
_ALS_WEIGHT = 0.25
_BLOCK_USERS = 32


@dataclass(frozen=True)
class KeptRows:
    """What the filter keeps of each user's past list, user after user: one entry per pair.

    Attributes:
        user, video: positions in the lists.
        regressed, als_score: float64 and float32, the pair's scores.
    """

    user: np.ndarray
    video: np.ndarray
    regressed: np.ndarray
    als_score: np.ndarray


@dataclass(frozen=True)
class PastLists:
    """Lists of some users as of an instant, and what these users liked afterwards.

    Attributes:
        seen, liked: bool [users, videos], before and after the instant.
        plays: float64 [videos], each video's plays after the instant, at least 1.
    """

    joined: JoinedFeatures
    seen: np.ndarray
    liked: np.ndarray
    plays: np.ndarray
    settings: RankerNeeds

    @classmethod
    def of(cls, data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> "PastLists | None":
        """Lists as of the start of data.slices.stop; None if no user known by then liked anything after it.

        If there are very many users, a hashed sample of them.
        """
        pair = [columns.USER_ID, columns.VIDEO_ID]
        stop = data.slices.stop
        before = data.plays[: stop.start].select(pair)
        after = data.plays[stop].select(*pair, pl.Series("liked", data.targets.liked[stop]))
        after = after.filter(pl.col(key).is_in(before[key].unique().implode()) for key in pair)
        liked = after.filter("liked")
        if liked.is_empty():
            return None
        user_id = liked[columns.USER_ID].unique().sort().to_numpy()
        drawn = np.argsort(uniform_hash(user_id.astype(np.uint64), settings.seed), kind="stable")
        user_id = np.sort(user_id[drawn[:_MOST_USERS]])
        video_id = before[columns.VIDEO_ID].unique().sort().to_numpy()
        encoding, zone = data.encoding, settings.data.zone
        joined = join_features(store, encoding, user_id, video_id, as_of=data.cuts.stop_from, zone=zone)

        def table(pairs: pl.DataFrame) -> np.ndarray:
            of_users = pairs.filter(pl.col(columns.USER_ID).is_in(pl.Series(user_id).implode()))
            found = np.zeros((len(user_id), len(video_id)), dtype=bool)
            user, video = (of_users[name].to_numpy() for name in pair)
            found[np.searchsorted(user_id, user), np.searchsorted(video_id, video)] = True
            return found

        plays = np.bincount(
            np.searchsorted(video_id, after[columns.VIDEO_ID].to_numpy()), minlength=len(video_id)
        )
        return cls(joined, table(before), table(liked), np.maximum(plays, 1.0), settings)

    def kept(self, ranker: HybridRanker) -> KeptRows:
        """The rows that the filter keeps of each list, and the scores that order them."""
        pairs, well = PairRanker.of(ranker, self.joined), self.joined.received()
        starts = range(0, len(self.seen), _BLOCK_USERS)
        with ThreadPoolExecutor(self.settings.threads) as pool:
            parts = list(pool.map(lambda start: list(self._kept(pairs, well, start)), starts))
        columns_of = zip(*(row for part in parts for row in part), strict=True)
        return KeptRows(*(np.concatenate(column) for column in columns_of))

    def gains(self, rows: KeptRows) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """A function from scores of these rows to the DCG of each user who liked something among them.

        It returns two arrays: with each liked video counting as one, and by the inverse of its plays.
        """
        liked = self.liked[rows.user, rows.video]
        counted = Outcome.of(rows.user, liked, None, max(_MEASURED_AT))
        by_plays = Outcome.of(rows.user, liked, liked / self.plays[rows.video], max(_MEASURED_AT))

        def gains(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            order = Order.of(rows.user, rows.video, scores)
            lists = [RankedLists.ordered(order, outcome) for outcome in (counted, by_plays)]
            one, other = (np.sum([of.discounted_gains(k) for k in _MEASURED_AT], axis=0) for of in lists)
            return one, other

        return gains

    def best_order(self, rows: KeptRows) -> Blend:
        """The order that ranks these lists best.

        Args:
            rows: those of all lists, from `kept`.
        """
        gains = self.gains(rows)
        regressor = Blend.alone(columns.REGRESSOR_SCORE)
        components = order_components(rows.regressed, rows.als_score)
        alone = replace(Blend.scales(components), weights={columns.REGRESSOR_SCORE: 1.0})
        helped = replace(alone, weights={columns.REGRESSOR_SCORE: 1.0, columns.ALS_SCORE: _ALS_WEIGHT})
        before = gains(alone.scores(components))
        if not len(before[0]):  # nothing that the filter kept was liked
            return regressor
        gain, by_inverse = (
            now - then for now, then in zip(gains(helped.scores(components)), before, strict=True)
        )
        by_chance = _STANDARD_ERRORS * gain.std() / np.sqrt(len(gain))
        return helped if gain.mean() > by_chance and by_inverse.sum() > 0 else regressor

    def _kept(self, pairs: PairRanker, well: np.ndarray, start: int) -> Iterator[tuple[np.ndarray, ...]]:
        """The rows that the filter keeps for each user of a block: user, video and ordering scores."""
        users = np.arange(start, min(start + _BLOCK_USERS, len(self.seen)))
        block = pairs.block(users)
        for part, als, probability in block.classified():
            rows = range(part.start, part.stop)
            for row, own_als, of_videos in zip(rows, als, probability, strict=True):
                regress = partial(_regressed, block, row, own_als)
                tie_break = partial(_tie_break, regress, well)
                kept = best_positions(
                    of_videos,
                    ~self.seen[users[row]],
                    filter_size(self.settings.ranker, self.settings.lists),
                    tie_break,
                )
                regressed = regress(kept)
                yield np.full(len(kept), users[row]), kept, regressed, own_als[kept]


def _tie_break(
    regress: Callable[[np.ndarray], np.ndarray], well: np.ndarray, videos: np.ndarray
) -> np.ndarray:
    return in_turn(regress(videos), well[videos])


def _regressed(block: UserBlock, user: int, als_score: np.ndarray, videos: np.ndarray) -> np.ndarray:
    return block.regressed(np.full(len(videos), user), videos, als_score[videos])


def with_fitted_order(ranker: HybridRanker, lists: PastLists | None) -> HybridRanker:
    """The ranker with the order that ranks past lists best; without any, the regressor orders alone."""
    return ranker if lists is None else replace(ranker, order=lists.best_order(lists.kept(ranker)))
