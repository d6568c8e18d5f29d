"""ALS with biases on all plays, the model behind `als_score`: how long will the user watch it?

Fitted as in `collaborative.biased_als`, on plays only: a pair that was never played counts neither for nor
against. A user's factors and bias are folded in from their history, so the fit need not have seen the user,
and only plays before the given instant take part.
"""

from dataclasses import dataclass

import numpy as np

from nightreel.core.settings.needs import SourceNeeds
from pipelines.collaborative.biased_als import BIAS_DIMENSIONS
from pipelines.collaborative.fits import FIRST_ITERATIONS, REGULARIZATION_PLAYS
from pipelines.collaborative.least_squares import BIAS_REGULARIZATION, Plays, Side, solve
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted

_FACTORS, _BIASES, _MEAN, _REGULARIZATION = "factors", "biases", "mean", "regularization"


class BiasedAls:
    """`[features.als] factors` dimensions, two of them biases, fitted on log(1 + watch_ratio)."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Fit `factors`, float32 [videos, factors], `biases`, float32 [videos], and two scalars."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        size, videos = settings.features.als.factors - BIAS_DIMENSIONS, len(some.video_id)
        video_side = Side.random(videos, size, np.random.default_rng(settings.seed))
        target = np.log1p(some.amount)
        mean = float(target.mean(dtype=np.float64)) if len(some) else 0.0
        # Only users with plays take part, in rows without a gap.
        users = np.unique(some.user, return_inverse=True)[1].astype(np.int32)
        by_user = Plays.grouped(users, some.video, target)
        played = np.unique(some.video)
        by_video = Plays.grouped(np.searchsorted(played, some.video).astype(np.int32), users, target)
        strength, threads = REGULARIZATION_PLAYS, settings.threads
        for _ in range(FIRST_ITERATIONS if len(some) else 0):
            user_side = solve(
                by_user, np.diff(by_user.starts), video_side, mean, regularization=strength, threads=threads
            )
            found = solve(
                by_video, np.diff(by_video.starts), user_side, mean, regularization=strength, threads=threads
            )
            video_side.factors[played], video_side.biases[played] = found.factors, found.biases
        unknown = np.setdiff1d(np.arange(videos), played)
        video_side.factors[unknown] = 0.0
        return {
            _FACTORS: video_side.factors,
            _BIASES: video_side.biases,
            _MEAN: np.array([mean], dtype=np.float32),
            _REGULARIZATION: np.array([strength], dtype=np.float32),
        }

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The factors and biases, in the columns of the catalogue."""
        factors = np.zeros((len(catalogue), arrays[_FACTORS].shape[1]), dtype=np.float32)
        factors[catalogue.columns] = arrays[_FACTORS]
        known = np.zeros(len(catalogue), dtype=bool)
        known[catalogue.columns] = True
        return _FittedBiasedAls(
            factors,
            catalogue.spread(arrays[_BIASES]),
            known,
            float(arrays[_MEAN][0]),
            float(arrays[_REGULARIZATION][0]),
        )


@dataclass(frozen=True)
class _FittedBiasedAls:
    """Factors and biases of videos, from which a user's follow.

    Attributes:
        known: bool [videos], whether the source has learnt of the video.
    """

    factors: np.ndarray
    biases: np.ndarray
    known: np.ndarray
    mean: float
    regularization: float

    def scores(self, histories: Histories) -> np.ndarray:
        """The fitted log(1 + watch_ratio), that of the mean user without a history; 0 for unknown videos."""
        users = len(histories.plays)
        found = np.empty((users, len(self.biases)), dtype=np.float32)
        size = self.factors.shape[1]
        ridge = np.diag(np.append(np.full(size, self.regularization), BIAS_REGULARIZATION))
        ridge = ridge.astype(np.float32)
        borders = np.searchsorted(histories.play_user, np.arange(users + 1))
        for user in range(users):
            own = slice(borders[user], borders[user + 1])
            video = histories.play_video[own]
            design = np.column_stack([self.factors[video], np.ones(len(video), dtype=np.float32)])
            left = np.log1p(histories.play_amount[own]) - np.float32(self.mean) - self.biases[video]
            # One user at a time: a product of whole blocks would round by the size of the block.
            solved = np.linalg.solve(design.T @ design + ridge, design.T @ left)
            found[user] = self.factors @ solved[:-1] + (self.biases + np.float32(self.mean) + solved[-1])
        found[:, ~self.known] = 0.0
        return found
