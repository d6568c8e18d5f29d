"""How similar two videos are: the cosine of their texts, and whether they are of one category."""

from dataclasses import dataclass

import numpy as np

from nightreel.core import columns
from pipelines.model_rows.joined_features import JoinedFeatures


@dataclass(frozen=True)
class TextAndCategory:
    """Similarity of videos by caption and category.

    Attributes:
        weight: of similarity against the order.
        text: float32 [videos, terms], rows of length 1, or 0 where unknown; no terms without text features.
        category: int64 [videos], negative where unknown.
    """

    weight: float
    text: np.ndarray
    category: np.ndarray

    @classmethod
    def of(cls, weight: float, joined: JoinedFeatures, category: np.ndarray) -> "TextAndCategory":
        """For the videos of a night, whose texts are the features `tfidf_...`."""
        names = [name for name in columns.TEXT_FEATURES if name in joined.names]
        text = np.zeros((len(category), 0), dtype=np.float32)
        if names and len(category):
            found = np.column_stack([np.nan_to_num(joined.video_feature(name)) for name in names])
            length = np.linalg.norm(found, axis=1, keepdims=True)
            text = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
        return cls(weight, text, category)

    def between(self, video: int, others: np.ndarray) -> np.ndarray:
        """Mean of same category (0 or 1) and the texts' cosine; without text features, the category alone."""
        category = self.category[video]
        same = (self.category[others] == category) & (category >= 0)
        if not self.text.shape[1]:
            alone: np.ndarray = same.astype(np.float64)
            return alone
        cosine = np.clip(self.text[others] @ self.text[video], 0, 1)
        found: np.ndarray = np.round((cosine.astype(np.float64) + same) / 2, 6)
        return found
