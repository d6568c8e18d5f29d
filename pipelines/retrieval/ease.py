"""EASE: a linear model of which videos are played by the same users, in closed form.

Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019). The matrix is as large as the
catalogue squared, so of a large catalogue only the most played videos take part.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack, solve_triangular
from scipy.sparse import csr_matrix

from nightreel.core.errors import NightreelError
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted

VIDEOS_MAX = 3_000
_PLAYS_MIN = 2
_BLOCK_USERS = 2_048
_VIDEOS, _WEIGHTS = "videos", "weights"


@dataclass(frozen=True)
class Ease:
    """EASE on liked plays, or on all plays, which reflect what is shown to the same users.

    Attributes:
        liked_only: whether it is fitted on liked plays instead of all plays.
        regularization: strength, in users, that pulls the weights towards zero.
    """

    liked_only: bool
    regularization: float

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """Fit `weights`, float32 [videos, videos], of the most played videos; `videos`: their int32 codes."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        pairs = some.pairs(some.liked if self.liked_only else slice(None))
        plays = np.asarray(pairs.sum(axis=0)).ravel()
        most = np.lexsort((np.arange(len(plays)), -plays))[:VIDEOS_MAX]
        videos = np.sort(most[plays[most] >= _PLAYS_MIN])
        return {_VIDEOS: videos.astype(np.int32), _WEIGHTS: self._weights(pairs[:, videos])}

    def _weights(self, pairs: csr_matrix) -> np.ndarray:
        size = pairs.shape[1]
        if not size:  # no video has been liked often enough, and LAPACK takes no empty matrix
            return np.zeros((0, 0), dtype=np.float32)
        users = np.flatnonzero(np.diff(pairs.indptr))
        if len(users) < size:
            return self._weights_by_users(pairs[users].toarray())
        gram = np.zeros((size, size), dtype=np.float32)
        # Dense blocks: sparse products of users with hundreds of plays take several times as long.
        for start in range(0, pairs.shape[0], _BLOCK_USERS):
            block = pairs[start : start + _BLOCK_USERS].toarray()
            gram += block.T @ block
        gram[np.diag_indices(size)] += self.regularization
        # In double precision: OpenBLAS's float32 kernels for processors without AVX end the process here
        # (spotri, an aligned load of an unaligned address) for some numbers of videos: 137, 139, 141.
        lower = _cholesky(gram)
        inverse, failed = lapack.dpotri(lower, lower=1)
        if failed:
            raise _singular()
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights: np.ndarray = (inverse / -np.diag(inverse)).astype(np.float32)
        np.fill_diagonal(weights, 0.0)
        return weights

    def _weights_by_users(self, pairs: np.ndarray) -> np.ndarray:
        """The same where users are fewer than videos, in a third of the time: only their matrix is inverted.

        By Woodbury's identity the inverse is (1 - P) / regularization, P being pairs.T @ inverse(pairs @
        pairs.T + regularization) @ pairs.

        Args:
            pairs: float32 [users, videos].
        """
        gram = pairs @ pairs.T
        gram[np.diag_indices(len(gram))] += self.regularization
        half = solve_triangular(_cholesky(gram), pairs.astype(np.float64), lower=True, check_finite=False)
        # Passes over the large matrix take most of the time: a third of it in single precision and in place.
        half = half.astype(np.float32)
        weights: np.ndarray = half.T @ half
        weights /= 1.0 - np.diag(weights)
        np.fill_diagonal(weights, 0.0)
        return weights

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The weights, in the columns of the catalogue."""
        columns = catalogue.columns[arrays[_VIDEOS]]
        return _FittedEase(self.liked_only, columns, arrays[_WEIGHTS], len(catalogue))


def _cholesky(gram: np.ndarray) -> np.ndarray:
    """The lower factor, float64."""
    lower, failed = lapack.dpotrf(gram, lower=1)
    if failed:
        raise _singular()
    found: np.ndarray = lower
    return found


def _singular() -> NightreelError:
    return NightreelError(
        "The source ease could not be fitted: its matrix is singular.",
        "Leave ease out of [retrieval] sources.",
    )


@dataclass(frozen=True)
class _FittedEase:
    liked_only: bool
    columns: np.ndarray
    weights: np.ndarray
    videos: int

    def scores(self, histories: Histories) -> np.ndarray:
        """The sum of the weights of the videos that the user had played; the last ones count most."""
        recent = histories.recent_liked if self.liked_only else histories.recent_played
        found = np.zeros((recent.shape[0], self.videos), dtype=np.float32)
        found[:, self.columns] = recent[:, self.columns] @ self.weights
        return found
