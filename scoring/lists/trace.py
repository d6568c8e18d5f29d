"""One user's way through the stages of scoring, kept open so that a single video can be followed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np


@dataclass(frozen=True)
class Trace:
    """The result of each stage for one user's candidates; videos are indices in `Candidates.video_id`, int64.

    Attributes:
        video: the candidates, ascending.
        brought_by: str [candidates], comma-separated names of their sources.
        probability: float64 [candidates], the classifier's.
        kept: bool [candidates], whether the filter keeps it.
        order: what was ordered, best first.
        listed: the list.
        models: those that filter or order, by name.
        names: the pair's features.
        features: of a video, float32 [features]; None if no row was composed for it.
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
        """Index of a video among the candidates; None if it is not one."""
        at = int(np.searchsorted(self.video, video))
        return at if at < len(self.video) and self.video[at] == video else None

    def position(self, video: int) -> int | None:
        """Position of a video in the order, from 1; None if it was not ordered."""
        found = np.flatnonzero(self.order == video)
        return int(found[0]) + 1 if len(found) else None
