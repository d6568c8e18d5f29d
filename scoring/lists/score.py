"""Every user's list: ALS scores all candidates, the classifier keeps the likeliest, the regressor orders.

The order is that of `HybridRanker.ordering`: the regressor alone, unless training found that the classifier
helps; its personal part has the weight that training found best.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.blocks import made_in_order
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.rankers import HybridRanker
from pipelines.rankers.common_order import plays_of
from pipelines.rankers.pair_ranker import PairRanker
from scoring.lists.averaged import averaged_users
from scoring.lists.candidates import Candidates
from scoring.lists.hybrid_lists import HybridLists
from scoring.lists.one_list import popular_list
from scoring.lists.own_sources import OwnSources
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import Lists
from scoring.lists.trace import Trace

# Users scored at a time: as fast as with more, and memory stays small for large catalogues.
USER_BLOCK = 256


def score_users(
    candidates: Candidates,
    joined: JoinedFeatures,
    ranker: HybridRanker,
    settings: RankerNeeds,
    own: OwnSources | None = None,
) -> Iterator[Lists]:
    """The lists of all users, by user id, in blocks of users.

    Users without history get the top rated videos (`popular`). For the others the hybrid orders unseen videos
    or, for those who have seen everything, all of them (`rewatch`); `score` is what it orders by. Ties are
    broken as in `filtering`; videos over a cap are skipped. A video is given up before the last tree only if
    it cannot pass the filter any more. Memory is one block of users per thread. Lists do not depend on block
    size or number of threads.

    Args:
        own: the own candidate sources that the settings name.
    """
    retrieval = Retrieval.of(candidates, joined, settings, own)
    return score_with(candidates, PairRanker.of(ranker, joined), retrieval, settings)


def score_with(
    candidates: Candidates,
    ranker: PairRanker,
    retrieval: Retrieval | None,
    settings: RankerNeeds,
    common: np.ndarray | None = None,
) -> Iterator[Lists]:
    """The same, given what depends only on the videos: the ranker split by user and video, and the sources.

    Args:
        common: as `common_order` returns it for all users, if `candidates` has only some of them.
    """
    scoring = _prepared(candidates, ranker, retrieval, settings, common)
    users = np.arange(len(candidates.user_id))
    blocks = (users[start : start + USER_BLOCK] for start in range(0, len(users), USER_BLOCK))
    yield from made_in_order(scoring.block, blocks, settings.threads)


def common_order(
    candidates: Candidates, ranker: PairRanker, retrieval: Retrieval | None, settings: RankerNeeds
) -> np.ndarray | None:
    """Mean of each video's ordering score over a sample of users: float64 [videos], NaN where unknown.

    Only candidates count if not all videos are candidates. None if no score is shrunk.
    """
    return _prepared(candidates, ranker, retrieval, settings).common


def users_to_trace(
    candidates: Candidates, ranker: HybridRanker, user: int, seed: int
) -> tuple[np.ndarray, int]:
    """Indices of the users that one user's list depends on, ascending, and of the user whose list it is."""
    if ranker.shrinkage.changes_nothing:
        return np.array([user]), user
    return np.union1d(averaged_users(candidates, seed), [user]), user


def trace_of_user(
    candidates: Candidates,
    joined: JoinedFeatures,
    ranker: HybridRanker,
    settings: RankerNeeds,
    *,
    own: OwnSources | None,
    user: int,
) -> Trace:
    """How the list of one user with a history, given by index in the candidates, is made, stage by stage."""
    retrieval = Retrieval.of(candidates, joined, settings, own)
    return _prepared(candidates, PairRanker.of(ranker, joined), retrieval, settings).trace(user)


def _prepared(
    candidates: Candidates,
    ranker: PairRanker,
    retrieval: Retrieval | None,
    settings: RankerNeeds,
    common: np.ndarray | None = None,
) -> "HybridLists":
    popular = popular_list(candidates, ranker.joined, settings.lists.top_k)
    plays = plays_of(ranker.joined)
    scoring = HybridLists(candidates, ranker, popular, ranker.joined.received(), retrieval, settings, plays)
    return replace(scoring, common=scoring.means_over_users() if common is None else common)
