"""Fits the weight of the personal part of the hybrid's order for each length of history.

Fitted on data that the model has not learnt from: the validation users of a fully observed matrix, else the
past lists that choose the order. On KuaiRec's real positives, the regressor's scores averaged over users, as
one list for all, are far better than each user's own scores; elsewhere taste matters most. So past data
decide. A score is left unchanged unless another weight is better by more than chance, and also better if each
liked video is weighted by the inverse of its plays, since the mean favours videos that are shown a lot.
"""

from dataclasses import replace

import numpy as np
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.settings.needs import RankerNeeds
from pipelines.local_days import end_of_day
from pipelines.model_rows.tonight import drawn_users
from pipelines.rankers.common_order import means_over_users, plays_of
from pipelines.rankers.contest import arena_of_matrix
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.list_order import PastLists
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.shrinkage import MEAN_USERS, Shrinkage, fitted_shrinkage
from pipelines.rankers.training_data import TrainingData


def lists_of_matrix(data: TrainingData, store: FeatureStore, settings: RankerNeeds) -> PastLists | None:
    """The fully observed pairs of the validation users; None if too few of them liked anything."""
    if not settings.paths.table("fully_observed").is_file():
        return None
    arena = arena_of_matrix(data, end_of_day(data.cuts.last_day, settings.data.zone), settings)
    if arena is None:
        return None
    video_id = arena.listable[columns.VIDEO_ID].to_numpy()
    liked = np.zeros_like(arena.opened)
    user, video = (arena.liked[name].to_numpy() for name in (columns.USER_ID, columns.VIDEO_ID))
    liked[np.searchsorted(arena.user_id, user), np.searchsorted(video_id, video)] = True
    watched = np.maximum(arena.opened.sum(axis=0), 1.0)
    return PastLists(arena.joined(data, store, settings), ~arena.opened, liked, watched, settings)


def with_fitted_shrinkage(ranker: HybridRanker, lists: PastLists | None) -> HybridRanker:
    """The ranker with the shrinkage that ranks these lists best; no tree may have learnt from them."""
    if lists is None:
        return ranker
    rows = lists.kept(ranker)
    of_users = np.flatnonzero(np.bincount(rows.user, lists.liked[rows.user, rows.video]) > 0)
    if not len(of_users):
        return ranker
    # One figure for each user whose list can get better or worse, in order.
    is_informative = np.isin(rows.user, of_users)
    rows = replace(
        rows,
        user=rows.user[is_informative],
        video=rows.video[is_informative],
        regressed=rows.regressed[is_informative],
        als_score=rows.als_score[is_informative],
    )
    pairs = PairRanker.of(ranker, lists.joined)
    some = drawn_users(np.arange(len(lists.seen)), MEAN_USERS, lists.settings.seed)
    common = means_over_users(pairs, some)
    plays = plays_of(lists.joined)
    gains = lists.gains(rows)
    scores = ranker.ordering(rows.regressed, rows.als_score)
    found: Shrinkage = fitted_shrinkage(
        scores,
        common[rows.video],
        plays[rows.user],
        np.unique(rows.user, return_index=True)[1],
        lambda tried: gains(tried)[0],
        confirmed_by=lambda tried: gains(tried)[1],
    )
    return replace(ranker, shrinkage=found)
