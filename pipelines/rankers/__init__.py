"""The two rankers and their hybrid: what they read, how they are trained, saved and combined."""

from pipelines.rankers.encoding import CATEGORICAL_FEATURES, FeatureEncoding
from pipelines.rankers.hybrid import HybridRanker, hybrid_order

__all__ = ["CATEGORICAL_FEATURES", "FeatureEncoding", "HybridRanker", "hybrid_order"]
