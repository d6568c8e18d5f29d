"""One list for many users."""

from dataclasses import dataclass

import numpy as np

from nightreel.core import columns
from pipelines.model_rows.joined_features import JoinedFeatures
from scoring.lists.candidates import Candidates, first_within_caps
from scoring.lists.retrieval import top_rated
from scoring.lists.rows import POPULAR, Lists


@dataclass(frozen=True)
class OneList:
    """One list without a user; all arrays are as in Lists."""

    video_id: np.ndarray
    score: np.ndarray
    classifier_score: np.ndarray
    regressor_score: np.ndarray
    als_score: np.ndarray
    source: str
    candidate_sources: np.ndarray

    def of(self, user_id: int) -> Lists:
        """The same as rows of a user's list."""
        rows = len(self.video_id)
        return Lists(
            np.full(rows, user_id, dtype=np.int64),
            np.arange(1, rows + 1, dtype=np.int32),
            self.video_id,
            self.score,
            self.classifier_score,
            self.regressor_score,
            self.als_score,
            np.full(rows, self.source),
            self.candidate_sources,
        )


def popular_list(candidates: Candidates, joined: JoinedFeatures, k: int) -> OneList:
    """The best received videos; `score` is their smoothed share, and no stage scores these rows."""
    share = np.nan_to_num(joined.video_feature(columns.VIDEO_AGG_LIKED_SHARE).astype(np.float64))
    order = first_within_caps(top_rated(candidates, joined), candidates.caps, k)
    none = np.full(len(order), np.nan)
    return OneList(
        candidates.video_id[order], share[order], none, none, none, POPULAR, np.full(len(order), "")
    )
