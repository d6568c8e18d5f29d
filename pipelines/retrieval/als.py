"""ALS on liked plays by the package implicit; a user's factors are folded in from their history.

Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets (ICDM 2008). Folding in
solves the user's equation with the videos' factors fixed, so the fit need not have seen the user, and only
plays before the given instant take part.
"""

from dataclasses import dataclass

import numpy as np
from implicit.als import AlternatingLeastSquares

from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted, implicit_alone

_CONFIDENCE, _REGULARIZATION, _ITERATIONS = 10.0, 30.0, 10
_FACTORS = "factors"


class Als:
    """Implicit ALS with `[features.als] factors` dimensions."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Fit the factors of videos: `factors` float32 [videos, factors]."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        with implicit_alone():
            model = AlternatingLeastSquares(
                factors=settings.features.als.factors,
                regularization=_REGULARIZATION,
                alpha=_CONFIDENCE,
                iterations=_ITERATIONS,
                num_threads=settings.threads,
                random_state=settings.seed,
            )
            model.fit(some.pairs(some.liked), show_progress=False)
        return {_FACTORS: np.asarray(model.item_factors, dtype=np.float32)}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The factors, in the columns of the catalogue."""
        factors = arrays[_FACTORS]
        every = np.zeros((len(catalogue), factors.shape[1]), dtype=np.float32)
        every[catalogue.columns] = factors
        return _FittedAls(every)


@dataclass(frozen=True)
class _FittedAls:
    videos: np.ndarray

    def scores(self, histories: Histories) -> np.ndarray:
        """Products of the folded-in user factors and the video factors; 0 without a liked play."""
        liked = histories.liked
        unseen = self.videos.T @ self.videos + _REGULARIZATION * np.eye(
            self.videos.shape[1], dtype=np.float32
        )
        found = np.zeros((liked.shape[0], len(self.videos)), dtype=np.float32)
        for user in range(liked.shape[0]):
            own = self.videos[liked.indices[liked.indptr[user] : liked.indptr[user + 1]]]
            if len(own):
                equations = unseen + (_CONFIDENCE - 1.0) * (own.T @ own)
                # One user at a time: a product of whole blocks would round by the size of the block.
                found[user] = self.videos @ np.linalg.solve(equations, _CONFIDENCE * own.sum(axis=0))
        return found
