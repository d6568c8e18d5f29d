"""Which videos the rankers score for a user where they do not score all: the union of a few quick sources.

- `als`: nearest by the dot product of the user's and the video's factors, searched exactly.
- `popular`: the best received now.
- `fresh`: uploaded last.
- `alike`: of the authors and first-level categories that stand most among the videos that the user has seen.

Each source gives an equal share of the size that is set; what they have in common, and what a source cannot
give, is made up from `popular`. So a user always has min(size, open videos) candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nightreel import columns
from nightreel.settings import Settings
from pipelines.rankers.hybrid import best_places
from pipelines.rankers.sides import Sides
from scoring.candidates import Candidates


@dataclass(frozen=True)
class Retrieval:
    """The sources of a night, over all listable videos.

    size: candidates of a user. popular, fresh: int64 [videos], places of the videos, best first. popular_at:
    int64 [videos], each video's place in `popular`. author, category: int64 [videos], from 0.
    """

    names: tuple[str, ...]
    size: int
    popular: np.ndarray
    popular_at: np.ndarray
    fresh: np.ndarray
    author: np.ndarray
    category: np.ndarray

    @classmethod
    def of(cls, candidates: Candidates, sides: Sides, settings: Settings) -> "Retrieval | None":
        """As the settings say; None where every video is scored, which for a small catalogue it is anyway."""
        # The filter and the list are never left short.
        size = max(settings.candidate_k, settings.filter_k, settings.top_k)
        about = candidates.about
        if settings.candidates == "all" or size >= len(candidates.video_id) or about is None:
            return None
        popular = best_received(candidates, sides)
        at = np.empty(len(popular), dtype=np.int64)
        at[popular] = np.arange(len(popular))
        return cls(
            tuple(settings.candidates.split(",")),
            size,
            popular,
            at,
            np.lexsort((at, -about.uploaded_us)),
            np.unique(about.author, return_inverse=True)[1],
            np.unique(about.category, return_inverse=True)[1],
        )

    def of_user(self, open_to: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """The user's candidates: places of videos, ascending.

        open_to: bool [videos], which may be listed. als_score: float32 [videos], NaN where it is not known.
        """
        share = self.size // len(self.names)
        chosen = np.zeros(len(open_to), dtype=bool)
        for name in self.names:
            if share:
                chosen[_SOURCES[name](self, open_to, als_score, share)] = True
        missing = self.size - int(chosen.sum())
        if missing > 0:
            chosen[_first_open(self.popular, open_to & ~chosen, missing)] = True
        return np.flatnonzero(chosen)

    def _nearest(self, open_to: np.ndarray, als_score: np.ndarray, share: int) -> np.ndarray:
        return best_places(als_score, open_to & ~np.isnan(als_score), share)

    def _popular(self, open_to: np.ndarray, _als_score: np.ndarray, share: int) -> np.ndarray:
        return _first_open(self.popular, open_to, share)

    def _fresh(self, open_to: np.ndarray, _als_score: np.ndarray, share: int) -> np.ndarray:
        return _first_open(self.fresh, open_to, share)

    def _alike(self, open_to: np.ndarray, _als_score: np.ndarray, share: int) -> np.ndarray:
        seen = np.flatnonzero(~open_to)
        if not len(seen):
            return seen
        of_author = np.bincount(self.author[seen], minlength=int(self.author.max()) + 1)
        of_category = np.bincount(self.category[seen], minlength=int(self.category.max()) + 1)
        # An author says more than a category of thousands; among equals, the better received.
        likeness = of_author[self.author] + of_category[self.category] / len(seen)
        likeness = likeness - self.popular_at / (len(self.popular_at) * len(seen) * 2)
        return best_places(likeness, open_to, share)


_SOURCES: dict[str, Callable[[Retrieval, np.ndarray, np.ndarray, int], np.ndarray]] = {
    "als": Retrieval._nearest,
    "popular": Retrieval._popular,
    "fresh": Retrieval._fresh,
    "alike": Retrieval._alike,
}


def best_received(candidates: Candidates, sides: Sides) -> np.ndarray:
    """Places of all videos by smoothed share of well received plays, then by views, then by id: int64.

    A video never played counts as 0.
    """
    share = np.nan_to_num(sides.video_feature(columns.VIDEO_AGG_LIKED_SHARE).astype(np.float64))
    views = np.nan_to_num(sides.video_feature(columns.VIDEO_AGG_VIEWS))
    order: np.ndarray = np.lexsort((candidates.video_id, -views, -share))
    return order


def _first_open(order: np.ndarray, open_to: np.ndarray, most: int) -> np.ndarray:
    """The first `most` places of an order that are open."""
    # Mostly they stand near the top.
    for head in (order[: 2 * most], order):
        found: np.ndarray = head[open_to[head]][:most]
        if len(found) == most:
            break
    return found
