"""Videos of the authors, or of the first-level categories, that a user had liked most often."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.histories import Histories
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import Arrays, Catalogue, Fitted

_LIKED = "liked"


@dataclass(frozen=True)
class SameGroup:
    """By author or by category; within a group the most liked videos come first."""

    by: Literal["author", "category"]

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:  # noqa: ARG002
        """Count `liked`, the liked plays of each video."""
        return {_LIKED: np.bincount(past.video[past.liked], minlength=len(past.video_id))}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The groups of the catalogue's videos."""
        ids = catalogue.author if self.by == "author" else catalogue.category
        liked = catalogue.spread(arrays[_LIKED])
        return _FittedGroups(groups_of(ids), liked / (1.0 + liked.max(initial=0.0)))


@dataclass(frozen=True)
class _FittedGroups:
    groups: csr_matrix
    liked: np.ndarray

    def scores(self, histories: Histories) -> np.ndarray:
        """How many of the user's liked videos are of the same group; ties by liked plays, below 1."""
        own = (histories.liked @ self.groups) @ self.groups.T
        found: np.ndarray = own.toarray()
        return found + np.where(found > 0, self.liked, 0.0).astype(np.float32)


def groups_of(ids: np.ndarray) -> csr_matrix:
    """A 1 for each video and its group: float32 [videos, groups]; none where the id is negative."""
    known = np.flatnonzero(ids >= 0)
    groups, code = np.unique(ids[known], return_inverse=True)
    return csr_matrix((np.ones(len(known), dtype=np.float32), (known, code)), (len(ids), len(groups)))
