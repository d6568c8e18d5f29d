"""Nearest videos by the users who liked both, weighted by TF-IDF or BM25: the package implicit's models."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from implicit.nearest_neighbours import BM25Recommender, TFIDFRecommender
from scipy.sparse import csr_matrix

from nightreel.core.compiled import compiled
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted, implicit_alone

_NEIGHBOURS = 100
_MODELS = {"tfidf": TFIDFRecommender, "bm25": BM25Recommender}


@dataclass(frozen=True)
class ItemKnn:
    """Item-to-item nearest neighbours of liked plays."""

    weighting: Literal["tfidf", "bm25"]

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """The similarities of each video to its neighbours, a sparse matrix as arrays."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        if not some.liked.any():  # implicit divides by the mean number of likes
            return sparse_arrays(csr_matrix((len(some.video_id), len(some.video_id)), dtype=np.float32))
        model = _MODELS[self.weighting](K=_NEIGHBOURS, num_threads=settings.threads)
        with implicit_alone():
            model.fit(some.pairs(some.liked), show_progress=False)
        return sparse_arrays(csr_matrix(model.similarity))

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The similarities, in the columns of the catalogue."""
        return SparseNeighbours(sparse_over(arrays, catalogue), fading=False)


@dataclass(frozen=True)
class SparseNeighbours:
    """Scores by the sum of a sparse matrix's rows over the videos that a user had liked.

    Attributes:
        neighbours: float32 [videos, videos].
        fading: whether the videos that were liked last count most.
    """

    neighbours: csr_matrix
    fading: bool

    def scores(self, histories: Histories) -> np.ndarray:
        """The sum for each user: float32 [users, videos]."""
        rows = histories.recent_liked if self.fading else histories.liked
        neighbours = self.neighbours
        found = np.zeros((rows.shape[0], neighbours.shape[1]), dtype=np.float32)
        _add_neighbours(
            rows.indptr,
            rows.indices,
            rows.data.astype(np.float32, copy=False),
            neighbours.indptr,
            neighbours.indices,
            neighbours.data,
            found,
        )
        return found


@compiled
def _add_neighbours(
    starts: np.ndarray,
    video: np.ndarray,
    weight: np.ndarray,
    neighbour_starts: np.ndarray,
    neighbour: np.ndarray,
    value: np.ndarray,
    found: np.ndarray,
) -> None:
    """Add the product of two sparse matrices to a dense one, in SciPy's order and in a fifth of its time.

    Args:
        starts, video, weight: the users' rows, as `indptr`, `indices` and `data` of a sparse matrix.
        neighbour_starts, neighbour, value: the videos' rows, in the same form.
        found: float32 [users, videos], changed in place.
    """
    for user in range(len(found)):
        for index in range(starts[user], starts[user + 1]):
            of_user = weight[index]
            source = video[index]
            for other in range(neighbour_starts[source], neighbour_starts[source + 1]):
                found[user, neighbour[other]] += of_user * value[other]


def sparse_arrays(matrix: csr_matrix) -> Arrays:
    """A sparse matrix of videos by videos as arrays that a file can hold."""
    entries = matrix.tocoo()
    return {
        "row": entries.row.astype(np.int32),
        "column": entries.col.astype(np.int32),
        "value": entries.data.astype(np.float32),
    }


def sparse_over(arrays: Arrays, catalogue: Catalogue) -> csr_matrix:
    """The same matrix at the columns of the catalogue."""
    # The index type that the matrix will have: to convert wider ones would take most of the time.
    of_videos = catalogue.columns.astype(np.int32)
    row, column = (of_videos[arrays[name]] for name in ("row", "column"))
    return csr_matrix((arrays["value"], (row, column)), (len(catalogue), len(catalogue)))
