"""The rankers and their hybrid: features, training, storage and combination."""

from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.filtering import hybrid_order, hybrid_scores
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.training import TRAIN, train

__all__ = ["TRAIN", "FeatureEncoding", "HybridRanker", "hybrid_order", "hybrid_scores", "train"]
