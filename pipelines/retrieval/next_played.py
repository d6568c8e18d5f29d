"""What is liked soon after what: videos that follow each other in the users' own order of liked plays.

Each liked play points to the ones that the same user liked next, the nearer the stronger; a video's pointers
are divided by the square roots of how much it points and how much it is pointed to, so that what is popular
does not follow everything. Measured in docs/decisions/candidate-sources.md.
"""

import numpy as np
from scipy.sparse import csr_matrix, diags

from nightreel.core.settings import Settings
from pipelines.retrieval.item_knn import SparseNeighbours, sparse_arrays, sparse_over
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted

_STEPS_MAX, _PAIRS_MAX = 30, 20_000_000
_DECAY, _SHRINK_PLAYS = 0.95, 20.0


class NextPlayed:
    """Successors of liked plays."""

    def fit(self, past: Past, settings: Settings) -> Arrays:
        """How strongly each video points to each other one, a sparse matrix as arrays."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        order = np.flatnonzero(some.liked)
        order = order[np.argsort(some.user[order], kind="stable")]
        user, video = some.user[order], some.video[order]
        videos = len(some.video_id)
        steps = min(_STEPS_MAX, max(1, _PAIRS_MAX // max(len(order), 1)), max(len(order) - 1, 0))
        following = csr_matrix((videos, videos), dtype=np.float32)
        for step in range(1, steps + 1):
            same = user[:-step] == user[step:]
            weight = np.full(int(same.sum()), _DECAY ** (step - 1), dtype=np.float32)
            pairs = (video[:-step][same], video[step:][same])
            following = following + csr_matrix((weight, pairs), (videos, videos))
        out, into = (np.asarray(following.sum(axis=axis)).ravel() for axis in (1, 0))
        scaled = diags((out + _SHRINK_PLAYS) ** -0.5) @ following @ diags((into + _SHRINK_PLAYS) ** -0.5)
        scaled = csr_matrix(scaled)
        scaled.setdiag(0.0)
        scaled.eliminate_zeros()
        return sparse_arrays(scaled)

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The pointers at the columns of their videos."""
        return SparseNeighbours(sparse_over(arrays, catalogue), fading=True)
