"""One user's way through the stages of scoring, kept open so that a single video can be followed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np


@dataclass(frozen=True)
class Trace:
    """What each stage made of one user's candidates.

    Videos are positions in `Candidates.video_id`, int64. video: the candidates, ascending; brought_by (str,
    the names of candidate sources with commas between), probability (float64, the classifier's) and kept
    (bool, whether the filter keeps it) have an entry for each of them. order: what was ordered, best first.
    listed: the list. models: those that filter or order, by name. names: the features of a pair. features: of
    a video, float32 [features], None where no row is composed for it.
    """

    video: np.ndarray
    brought_by: np.ndarray
    probability: np.ndarray
    kept: np.ndarray
    order: np.ndarray
    listed: np.ndarray
    models: Mapping[str, lgb.Booster]
    names: tuple[str, ...]
    features: Callable[[int], np.ndarray | None]

    def candidate(self, video: int) -> int | None:
        """The index of a video among the candidates; None where it is none of them."""
        at = int(np.searchsorted(self.video, video))
        return at if at < len(self.video) and self.video[at] == video else None

    def position(self, video: int) -> int | None:
        """Where the order has a video, from 1; None where it was not ordered."""
        found = np.flatnonzero(self.order == video)
        return int(found[0]) + 1 if len(found) else None
