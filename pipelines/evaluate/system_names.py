"""The systems that are compared on held-out pairs, by their names in metrics.json."""

from collections.abc import Mapping

import numpy as np

# The systems, in the order of the tables.
RANDOM = "random"
POPULARITY_BY_VIEWS = "popularity_by_views"
POPULARITY_BY_ENGAGEMENT = "popularity_by_engagement"
ALS = "als"
TRANSFORMER = "transformer"
CLASSIFIER = "classifier"
REGRESSOR = "regressor"
HYBRID = "hybrid"
BLEND = "blend"
TRUTH = "truth"


def in_order(scores: Mapping[str, np.ndarray]) -> list[str]:
    """The systems with scores, in the order of the tables."""
    tables = (
        RANDOM,
        POPULARITY_BY_VIEWS,
        POPULARITY_BY_ENGAGEMENT,
        ALS,
        TRANSFORMER,
        CLASSIFIER,
        REGRESSOR,
        HYBRID,
        BLEND,
        TRUTH,
    )
    return [system for system in tables if system in scores]
