"""Videos by author or by category, the best received first: a few are found without reading the others."""

from dataclasses import dataclass

import numpy as np

from scoring.lists.candidates import OpenVideos


@dataclass(frozen=True)
class Groups:
    """The videos of each group, such as an author.

    Attributes:
        group: int64 [videos], from 0, negative where unknown.
        positions: int64, indices of the videos with a group, by group, the top rated first.
        starts: int64 [groups + 1], where each group begins in `positions`.
        popular_at: int64 [videos], position of each video when all are ordered by rating.
    """

    group: np.ndarray
    positions: np.ndarray
    starts: np.ndarray
    popular_at: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, popular_at: np.ndarray) -> "Groups":
        """Build from each video's group id: int64 [videos], negative where unknown."""
        known, group = np.unique(ids, return_inverse=True)
        group = group - np.searchsorted(known, 0)
        order = np.lexsort((popular_at, group))
        positions = order[group[order] >= 0]
        starts = np.searchsorted(group[positions], np.arange(group.max(initial=-1) + 2))
        return cls(group, positions, starts, popular_at)

    def most_seen(self, seen: np.ndarray, most: int, open_videos: OpenVideos) -> np.ndarray:
        """At most `most` open videos of the most seen groups, int64; in equally seen groups, the top rated.

        Args:
            seen: indices of all videos that are not open.
        """
        of_seen = self.group[seen]
        groups, counts = np.unique(of_seen[of_seen >= 0], return_counts=True)
        found = np.zeros(0, dtype=np.int64)
        for count in np.unique(counts)[::-1].tolist():
            if len(found) >= most:
                break
            # So many of each that enough are left when those seen are taken out.
            positions = self._first_of_each(groups[counts == count], most + count)
            positions = positions[open_videos.holds(positions)]
            found = np.concatenate([found, positions[np.argsort(self.popular_at[positions])]])
        return found[:most]

    def _first_of_each(self, groups: np.ndarray, most: int) -> np.ndarray:
        starts = self.starts[groups]
        lengths = np.minimum(self.starts[groups + 1] - starts, most)
        ends = np.cumsum(lengths)
        within = np.arange(int(lengths.sum())) - np.repeat(ends - lengths, lengths)
        found: np.ndarray = self.positions[np.repeat(starts, lengths) + within]
        return found
