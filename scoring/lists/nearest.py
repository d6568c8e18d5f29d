"""Approximate search, by faiss, for the videos whose factors have the largest dot product with a user's.

One more coordinate, which gives all videos the same length, turns the largest dot product into the least
distance (Bachrach et al., Speeding Up the Xbox Recommender System Using a Euclidean Transformation for
Inner-Product Spaces, RecSys 2014); faiss's inverted lists then search the nearest clusters only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scoring.lists.candidates import OpenVideos

# As faiss's own guidelines have it: 4 sqrt(n) lists, each trained on at least 39 videos, and no more than 64.
_LISTS_BY_ROOT, _TRAINED_ON_MIN, _TRAINED_ON, _ITERATIONS, _SEED = 4, 39, 64, 10, 1234
# Videos to look at per video asked for, and the least number of lists: see benchmarks/nearest_videos.py.
_LOOKED_AT, _PROBES_MIN = 16, 64
# A byte's bits in reverse order, as faiss has the first in the lowest.
_TURNED = np.packbits(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little"
)[:, 0]


@dataclass(frozen=True)
class NearestVideos:
    """A faiss IndexIVFFlat of the videos that have factors, numbered by their indices; it can be pickled."""

    index: Any

    @classmethod
    def of(cls, video_factors: np.ndarray) -> "NearestVideos | None":
        """Build the index, deterministically; None if no video has factors.

        Args:
            video_factors: float32 [videos, factors], NaN for a video without.
        """
        positions = np.flatnonzero(~np.isnan(video_factors).any(axis=1))
        if not len(positions):
            return None
        import faiss

        points = equally_long(video_factors[positions])
        lists = max(1, min(int(_LISTS_BY_ROOT * len(positions) ** 0.5), len(positions) // _TRAINED_ON_MIN))
        width = points.shape[1]
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, lists, faiss.METRIC_L2)
        index.cp.niter, index.cp.seed, index.cp.max_points_per_centroid = _ITERATIONS, _SEED, _TRAINED_ON
        index.train(points)
        index.add_with_ids(points, positions)
        return cls(index)

    def of_user(self, factors: np.ndarray, open_videos: OpenVideos, most: int) -> np.ndarray:
        """Indices of about the nearest `most` open videos: int64; fewer if the searched clusters hold fewer.

        Args:
            factors: float32 [factors] of the user.
        """
        import faiss

        closed = open_videos.videos - len(open_videos)
        # The share of closed videos is assumed to be the same among those looked at as among all.
        looked_at = _LOOKED_AT * most * self.index.ntotal / max(self.index.ntotal - closed, 1)
        requested = int(np.ceil(looked_at * self.index.nlist / self.index.ntotal))
        probes = min(max(_PROBES_MIN, requested), self.index.nlist)
        opened = _TURNED[~open_videos.closed]
        chosen = faiss.SearchParametersIVF(sel=faiss.IDSelectorBitmap(opened), nprobe=probes)
        asked = np.append(factors, np.float32(0))[None]
        _, (found,) = self.index.search(asked, most, params=chosen)
        positions: np.ndarray = found[found >= 0]
        return positions


def equally_long(factors: np.ndarray) -> np.ndarray:
    """Append a coordinate that gives every row the length of the longest: float32 [videos, factors + 1].

    A point with 0 in that coordinate is nearest to the row with which it has the largest dot product.

    Args:
        factors: float32 [videos, factors], at least one row.
    """
    squares = np.einsum("ij,ij->i", factors, factors)
    return np.column_stack([factors, np.sqrt(squares.max() - squares)])
