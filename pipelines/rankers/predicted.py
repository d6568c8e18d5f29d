"""Scores of each stage for rows of a feature matrix, block by block."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from nightreel.core import columns
from pipelines.model_rows.ordering import received
from pipelines.rankers.binning import Matrix
from pipelines.rankers.filtering import hybrid_scores
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.row_forest import RowForest

_BLOCK_ROWS = 16_384
# Features that the order uses directly.
_OF_PAIRS = (columns.ALS_SCORE, columns.VIDEO_AGG_LIKED_SHARE, columns.VIDEO_AGG_VIEWS)


@dataclass(frozen=True)
class Predicted:
    """The scores of a ranker's stages for some rows, float64 [rows] each.

    Attributes:
        classifier: probability that the play is liked.
        regressor: expected amount.
        ordering: what orders the rows that the filter keeps.
        received: how well all users received the video, as `ordering.received` has it.
    """

    classifier: np.ndarray
    regressor: np.ndarray
    ordering: np.ndarray
    received: np.ndarray

    @classmethod
    def of(cls, ranker: HybridRanker, matrix: Matrix, rows: np.ndarray) -> "Predicted":
        """Score these rows of a matrix with the ranker's features."""
        classified, regressed = (np.empty(len(rows)) for _ in range(2))
        classifier, regressor = RowForest.of(ranker.classifier), RowForest.of(ranker.regressor)
        own = {name: np.full(len(rows), np.nan) for name in _OF_PAIRS if name in ranker.feature_names}

        def predict(start: int) -> None:
            part = slice(start, start + _BLOCK_ROWS)
            block = matrix[rows[part]]
            classified[part] = expit(classifier.raw(block))
            regressed[part] = regressor.raw(block)
            for name, values in own.items():
                values[part] = block[:, ranker.feature_names.index(name)]

        with ThreadPoolExecutor(ranker.threads or None) as pool:
            list(pool.map(predict, range(0, len(rows), _BLOCK_ROWS)))
        als_score, liked_share, views = (own.get(name, np.full(len(rows), np.nan)) for name in _OF_PAIRS)
        return cls(classified, regressed, ranker.ordering(regressed, als_score), received(liked_share, views))

    def hybrid(
        self, user_id: np.ndarray, video_id: np.ndarray, *, filter_k: int, catalogue: int
    ) -> np.ndarray:
        """The scores of `hybrid_scores` for the rows' users and videos."""
        return hybrid_scores(
            user_id,
            video_id,
            self.classifier,
            self.ordering,
            filter_k=filter_k,
            catalogue=catalogue,
            received=self.received,
        )
