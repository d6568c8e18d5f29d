"""Each stage's scores of rows of a feature matrix, a block at a time."""

from dataclasses import dataclass

import numpy as np

from nightreel import columns
from pipelines.rankers.binning import Matrix
from pipelines.rankers.hybrid import HybridRanker, hybrid_scores

_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Predicted:
    """What a ranker's stages say of some rows, float64 [rows] each.

    classifier: probability that the play is liked. regressor: expected amount. ordering: what orders the rows
    that the filter keeps.
    """

    classifier: np.ndarray
    regressor: np.ndarray
    ordering: np.ndarray

    @classmethod
    def of(cls, ranker: HybridRanker, matrix: Matrix, rows: np.ndarray) -> "Predicted":
        """Of these rows of a matrix with the ranker's features."""
        classified, regressed, als_score = (np.empty(len(rows)) for _ in range(3))
        place = ranker.feature_names.index(columns.ALS_SCORE)
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            block = matrix[rows[part]]
            classified[part] = ranker.classify(block)
            regressed[part] = ranker.regress(block)
            als_score[part] = block[:, place]
        return cls(classified, regressed, ranker.ordering(regressed, als_score))

    def hybrid(
        self, user_id: np.ndarray, video_id: np.ndarray, *, filter_k: int, catalogue: int
    ) -> np.ndarray:
        """As `hybrid_scores`, of the rows' users and videos."""
        return hybrid_scores(
            user_id, video_id, self.classifier, self.ordering, filter_k=filter_k, catalogue=catalogue
        )
