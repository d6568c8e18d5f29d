"""Videos liked lately by anyone: each liked play counts less the older it is, by a half-life."""

from dataclasses import dataclass

import numpy as np

from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import Arrays, Catalogue, Fitted, SameForAll

_COUNT = "count"


@dataclass(frozen=True)
class Recent:
    """Liked plays, fading with a half-life in days."""

    half_life_days: float

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:  # noqa: ARG002
        """The faded liked plays of each video: float64 [videos]."""
        faded = 0.5 ** (past.age_days(past.liked) / self.half_life_days)
        return {_COUNT: np.bincount(past.video[past.liked], faded, minlength=len(past.video_id))}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The same list for everyone."""
        return SameForAll(catalogue.spread(arrays[_COUNT]))


class Fresh:
    """The newest videos first, by upload or when first known; among equals the best received."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:  # noqa: ARG002
        """Learn nothing: the catalogue has all that is needed."""
        return {}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:  # noqa: ARG002
        """The same list for everyone."""
        order = np.lexsort((catalogue.received, catalogue.uploaded_us))
        rank = np.empty(len(order), dtype=np.float32)
        rank[order] = np.arange(len(order))
        return SameForAll(rank)
