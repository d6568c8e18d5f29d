"""Bayesian personalised ranking by the package implicit, on one thread, as more give other factors.

Source: Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback (UAI 2009). It has no
folding in, so a user's factors are approximated from the videos that they had liked.
"""

import numpy as np
from implicit.bpr import BayesianPersonalizedRanking

from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted, implicit_alone

_EPOCHS = 20
_USERS, _VIDEOS = "users", "videos"


class Bpr:
    """BPR with `[features.als] factors` dimensions and implicit's other defaults."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Fit `videos`, float32 [videos, factors + 1], and `users`, which maps likes to user factors."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        liked = some.pairs(some.liked)
        with implicit_alone():
            model = BayesianPersonalizedRanking(
                factors=settings.features.als.factors,
                iterations=_EPOCHS,
                num_threads=1,
                random_state=settings.seed,
            )
            model.fit(liked, show_progress=False)
        videos = np.asarray(model.item_factors, dtype=np.float32)
        users = np.asarray(model.user_factors, dtype=np.float32)
        # The least-squares map from the mean of a user's liked videos to the factors that BPR gave them.
        counts = np.maximum(np.asarray(liked.sum(axis=1)), 1.0)
        means = (liked @ videos) / counts
        ridge = means.T @ means + np.eye(means.shape[1], dtype=np.float32)
        return {_VIDEOS: videos, _USERS: np.linalg.solve(ridge, means.T @ users).astype(np.float32)}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The factors, in the columns of the catalogue."""
        videos = arrays[_VIDEOS]
        every = np.zeros((len(catalogue), videos.shape[1]), dtype=np.float32)
        every[catalogue.columns] = videos
        return _FittedBpr(every, arrays[_USERS])


class _FittedBpr:
    def __init__(self, videos: np.ndarray, users: np.ndarray) -> None:
        self._videos, self._users = videos, users

    def scores(self, histories: Histories) -> np.ndarray:
        """Products of the approximated users' factors and the videos'."""
        liked = histories.liked
        means = (liked @ self._videos) / np.maximum(histories.likes, 1.0)[:, None].astype(np.float32)
        found = np.empty((liked.shape[0], len(self._videos)), dtype=np.float32)
        for user in range(len(found)):
            factors = means[user] @ self._users
            # The last factor is the bias of the videos, which counts once for everyone.
            factors[-1] = 1.0
            # Without BLAS, which on one machine reported an invalid value for a product of finite numbers.
            found[user] = np.einsum("vf,f->v", self._videos, factors)
        return found
