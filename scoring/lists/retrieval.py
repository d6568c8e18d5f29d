"""The videos that the rankers score for a user, unless they score all: the union of a few fast sources.

- `als`: largest dot product of the user's and the video's factors.
- `popular`: the top rated.
- `fresh`: the newest uploads.
- `content_based`: videos of the authors, then of the first-level categories, that are most frequent among the
  videos that the user has seen.

An own source (docs/own-models.md) returns what it recommended to the user.

Each source gives an equal share of the size that is set; overlaps, and what a source cannot give, are filled
up from `popular`. So a user always has min(size, open videos) candidates. Except for an exact `als` search,
the cost grows with the size and with what the user has seen, not with the catalogue.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nightreel.core.catalogue.formulas import products_with
from nightreel.core.settings.needs import RankerNeeds
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.ordering import best_positions
from pipelines.rankers.filtering import filter_size
from scoring.lists.candidates import Candidates, OpenVideos
from scoring.lists.groups import Groups
from scoring.lists.nearest import NearestVideos
from scoring.lists.own_sources import OwnSources

_NONE = np.zeros(0, dtype=np.int64)
# The union holds this many videos for each one that the classifier keeps, so that it has some to leave out.
CANDIDATES_PER_FILTERED = 4


@dataclass(frozen=True)
class Retrieval:
    """A night's candidate sources over all eligible videos, the same for all users.

    Attributes:
        size: number of candidates per user.
        popular, fresh: int64 [videos], video indices, best first.
        authors, categories: the videos of each.
        video_factors: float32 [videos, factors], NaN for a video without.
        received: int64 [videos], rating by which ties are broken.
        nearest: index that searches the factors, for als_approximate; None if that is not named.
        own: own sources, if any is named.
    """

    names: tuple[str, ...]
    size: int
    popular: np.ndarray
    fresh: np.ndarray
    authors: Groups
    categories: Groups
    video_factors: np.ndarray
    received: np.ndarray
    nearest: NearestVideos | None
    own: OwnSources | None = None

    @classmethod
    def of(
        cls,
        candidates: Candidates,
        joined: JoinedFeatures,
        settings: RankerNeeds,
        own: OwnSources | None = None,
    ) -> "Retrieval | None":
        """Build as the settings say; None if every video is scored, as always for a small catalogue."""
        size = CANDIDATES_PER_FILTERED * filter_size(settings.ranker, settings.lists)
        about = candidates.about
        if settings.retrieval.candidates == "all" or size >= len(candidates.video_id) or about is None:
            return None
        names = tuple(settings.retrieval.candidates.split(","))
        popular = top_rated(candidates, joined)
        at = np.empty(len(popular), dtype=np.int64)
        at[popular] = np.arange(len(popular))
        return cls(
            names,
            size,
            popular,
            np.lexsort((at, -about.uploaded_us)),
            Groups.of(about.author, at),
            Groups.of(about.category, at),
            joined.video_factors,
            joined.received(),
            NearestVideos.of(joined.video_factors) if "als_approximate" in names else None,
            own,
        )

    def of_user(
        self, open_videos: OpenVideos, factors: np.ndarray, user_id: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The candidates of one user.

        Args:
            factors: float32 [factors] of the user, NaN if unknown.
            user_id: for own sources.

        Returns:
            Video indices, int64, ascending; and for each a uint32 with one bit per source of `names` that
            returned it, the first source's the lowest. No bit is set for videos that fill up the list.
        """
        share = self.size // len(self.names)
        found: list[np.ndarray] = []
        if share:
            found = [self._named(name, open_videos, factors, share, user_id) for name in self.names]
        chosen = np.unique(np.concatenate([_NONE, *found]))
        missing = self.size - len(chosen)
        if missing > 0:
            more = _first_open(self.popular, open_videos, missing, besides=chosen)
            chosen = np.sort(np.concatenate([chosen, more]))
        brought_by = np.zeros(len(chosen), dtype=np.uint32)
        for number, of_source in enumerate(found):
            brought_by[np.searchsorted(chosen, of_source)] |= np.uint32(1 << number)
        return chosen, brought_by

    def _named(
        self, name: str, open_videos: OpenVideos, factors: np.ndarray, share: int, user_id: int | None
    ) -> np.ndarray:
        if name in _SOURCES:
            return _SOURCES[name](self, open_videos, factors, share)
        assert self.own is not None and user_id is not None
        scores = self.own.scores(name, user_id)
        among = open_videos.dense() & (scores > 0)
        return best_positions(scores, among, share, lambda tied: self.received[tied])

    def _nearest(self, open_videos: OpenVideos, factors: np.ndarray, share: int) -> np.ndarray:
        if np.isnan(factors).any():
            return _NONE
        als_score = products_with(self.video_factors, factors)
        among = open_videos.dense() & ~np.isnan(als_score)
        return best_positions(als_score, among, share, lambda tied: self.received[tied])

    def _nearly_nearest(self, open_videos: OpenVideos, factors: np.ndarray, share: int) -> np.ndarray:
        if np.isnan(factors).any() or self.nearest is None:
            return _NONE
        return self.nearest.of_user(factors, open_videos, share)

    def _popular(self, open_videos: OpenVideos, _factors: np.ndarray, share: int) -> np.ndarray:
        return _first_open(self.popular, open_videos, share)

    def _fresh(self, open_videos: OpenVideos, _factors: np.ndarray, share: int) -> np.ndarray:
        return _first_open(self.fresh, open_videos, share)

    def _content_based(self, open_videos: OpenVideos, _factors: np.ndarray, share: int) -> np.ndarray:
        seen = open_videos.closed_positions()
        # A common author means more than a common category of thousands.
        found = self.authors.most_seen(seen, share, open_videos)
        missing = share - len(found)
        if missing > 0:
            by_category = self.categories.most_seen(seen, share, open_videos)
            found = np.concatenate([found, by_category[~np.isin(by_category, found)][:missing]])
        return found


_SOURCES: dict[str, Callable[[Retrieval, OpenVideos, np.ndarray, int], np.ndarray]] = {
    "als": Retrieval._nearest,
    "als_approximate": Retrieval._nearly_nearest,
    "popular": Retrieval._popular,
    "fresh": Retrieval._fresh,
    "content_based": Retrieval._content_based,
}


def top_rated(candidates: Candidates, joined: JoinedFeatures) -> np.ndarray:
    """Indices of all videos by shrunk share of liked plays, then by views, then by id: int64.

    A video never played counts as 0.
    """
    order: np.ndarray = np.lexsort((candidates.video_id, -joined.received()))
    return order


def _first_open(
    order: np.ndarray, open_videos: OpenVideos, most: int, besides: np.ndarray = _NONE
) -> np.ndarray:
    """The first `most` positions of an order that are open, and not among those `besides`."""
    length = 2 * most + len(besides)
    while True:
        # Most of them are near the top.
        head = order[:length]
        found: np.ndarray = head[open_videos.holds(head) & ~np.isin(head, besides)][:most]
        if len(found) == most or length >= len(order):
            return found
        length *= 2
