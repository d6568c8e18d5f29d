"""Users and their listable videos, both objectives' lists for them, and the quality of a list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.instants import unix_us
from nightreel.core.settings import RankerSettings
from nightreel.core.settings.needs import RankerNeeds
from pipelines.metrics import RankedLists, ndcg_at_k
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.model_rows.night import Rows
from pipelines.model_rows.ordering import best_positions
from pipelines.model_rows.tonight import drawn_users, night_as_of
from pipelines.rankers.common_order import means_over_users, plays_of
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.shrinkage import MEAN_USERS
from pipelines.rankers.training_data import TrainingData
from pipelines.retrieval.fits import without_sources

_MEASURED_AT = (10, 100)
_DEPTH = max(_MEASURED_AT)
_BLOCK_USERS = 32
_PAIR = [columns.USER_ID, columns.VIDEO_ID]


@dataclass(frozen=True)
class Arena:
    """Users whose lists are compared.

    Attributes:
        listable: the videos that may be listed, as for `Night.of`.
        opened: bool [users, listable], which of them may be listed for each user.
        liked: user_id, video_id, each liked pair once; every user has one.
    """

    as_of: datetime
    user_id: np.ndarray
    listable: pl.DataFrame
    opened: np.ndarray
    liked: pl.DataFrame

    @classmethod
    def of(
        cls,
        as_of: datetime,
        listable: pl.DataFrame,
        liked: pl.DataFrame,
        pairs: pl.DataFrame,
        *,
        closed: bool,
    ) -> "Arena":
        """From pairs (user_id, video_id): `closed` ones may not be listed, otherwise only these may."""
        user_id = np.sort(liked[columns.USER_ID].unique().to_numpy())
        video_id = listable[columns.VIDEO_ID].to_numpy()
        own = pairs.filter(
            pl.col(columns.USER_ID).is_in(pl.Series(user_id).implode()),
            pl.col(columns.VIDEO_ID).is_in(pl.Series(video_id).implode()),
        )
        named = np.zeros((len(user_id), len(video_id)), dtype=bool)
        user, video = (own[name].to_numpy() for name in _PAIR)
        named[np.searchsorted(user_id, user), np.searchsorted(video_id, video)] = True
        return cls(as_of, user_id, listable, ~named if closed else named, liked)

    def joined(self, data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> JoinedFeatures:
        """Feast's features of these users and videos."""
        video_id = self.listable[columns.VIDEO_ID].to_numpy()
        return join_features(
            store, data.encoding, self.user_id, video_id, as_of=self.as_of, zone=settings.data.zone
        )

    def quality(self, lists: Sequence[np.ndarray]) -> np.ndarray:
        """The mean NDCG at 10 and 100 of each user.

        Args:
            lists: for each user positions in `listable`, best first.
        """
        video_id = self.listable[columns.VIDEO_ID].to_numpy()
        found = pl.DataFrame(
            {
                columns.USER_ID: np.repeat(self.user_id, [len(one) for one in lists]),
                columns.VIDEO_ID: video_id[np.concatenate(lists).astype(np.int64)],
                "rank": np.concatenate([np.arange(len(one)) for one in lists]),
            }
        )
        hits = found.join(self.liked, on=_PAIR, how="inner").sort(columns.USER_ID, "rank")
        liked_user = np.searchsorted(self.user_id, self.liked[columns.USER_ID].to_numpy())
        hit_user = np.searchsorted(self.user_id, hits[columns.USER_ID].to_numpy())
        ranked = RankedLists.of_hits(
            self.user_id,
            (liked_user, np.ones(len(liked_user))),
            (hit_user, hits["rank"].to_numpy(), np.ones(len(hit_user))),
            _DEPTH,
        )
        of_users: np.ndarray = np.mean([ndcg_at_k(ranked, k) for k in _MEASURED_AT], axis=0)
        return of_users


def shown_lists(
    arena: Arena, joined: JoinedFeatures, ranker: HybridRanker, settings: RankerSettings, seed: int
) -> list[np.ndarray]:
    """Each user's list by the rankers of objective `shown`: positions in `listable`, best first."""
    pairs = PairRanker.of(ranker, joined)
    shrinkage, plays = ranker.shrinkage, plays_of(joined)
    common = np.zeros(0)
    if not shrinkage.changes_nothing:
        common = means_over_users(pairs, drawn_users(arena.user_id, MEAN_USERS, seed))
    found = []
    for users in _blocks(arena):
        block = pairs.block(users)
        for part, als, probability in block.classified():
            for at, own_als, likely in zip(range(part.start, part.stop), als, probability, strict=True):
                kept = _kept(likely, arena.opened[users[at]], settings)
                regressed = block.regressed(np.full(len(kept), at), kept, own_als[kept])
                ordering = ranker.ordering(regressed, own_als[kept])
                if len(common):
                    own_plays = np.full(len(kept), plays[users[at]])
                    ordering = shrinkage.applied(ordering, common[kept], own_plays)
                found.append(_first(kept, ordering))
    return found


def next_day_lists(
    arena: Arena, joined: JoinedFeatures, ranker: NextDayRanker, plays: pl.DataFrame, settings: RankerNeeds
) -> list[np.ndarray]:
    """Each user's list by the rankers of objective `next_day`: positions in `listable`, best first.

    Args:
        plays: the log.
    """
    used = without_sources(settings, ranker.left_out)
    night = night_as_of(plays, arena.as_of, joined, arena.listable, used, user_id=arena.user_id)
    found = []
    as_of_us = unix_us(arena.as_of)

    def rows_of(users: np.ndarray) -> Rows:
        instants = np.full(len(users), as_of_us)
        return night.rows(arena.user_id[users], instants, users, arena.opened[users], at_least=_DEPTH)

    # There are some hundred users, so their rows are composed once and kept.
    parts = list(made_in_order(rows_of, _blocks(arena), settings.threads))
    common = ranker.means_over_users(((rows.video, rows.features) for rows in parts), len(night.catalogue))
    for users, rows in zip(_blocks(arena), parts, strict=True):
        probability = ranker.probability(rows.features)
        for user in range(len(users)):
            own = np.flatnonzero(rows.user == user)
            own = own[_kept(probability[own], np.ones(len(own), dtype=bool), settings.ranker)]
            ordering = ranker.ordering(rows.features[own], probability[own])
            if common is not None:
                ordering = ranker.shrunk(ordering, common[rows.video[own]], rows.features[own])
            best = _first(own, ordering)
            found.append(night.joined_video[rows.video[best]])
    return found


def _blocks(arena: Arena) -> Iterator[np.ndarray]:
    for start in range(0, len(arena.user_id), _BLOCK_USERS):
        yield np.arange(start, min(start + _BLOCK_USERS, len(arena.user_id)))


def _kept(likely: np.ndarray, among: np.ndarray, settings: RankerSettings) -> np.ndarray:
    """The videos that the classifier keeps, but at least as many as are measured."""
    return best_positions(likely, among, max(settings.filter_k, _DEPTH))


def _first(kept: np.ndarray, ordering: np.ndarray) -> np.ndarray:
    best: np.ndarray = kept[np.argsort(-ordering, kind="stable")][:_DEPTH]
    return best
