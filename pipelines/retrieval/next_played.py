"""Videos that users like soon after each other.

Each liked play points to the next ones of the same user, the nearer the stronger. Weights are divided by the
square roots of how much the one video points and how much the other is pointed to, so that popular videos do
not follow every other. Measured in docs/decisions/candidate-sources.md.
"""

import numpy as np

from nightreel.core.compiled import compiled
from nightreel.core.settings.needs import SourceNeeds
from pipelines.retrieval.counting import positions_by
from pipelines.retrieval.item_knn import SparseNeighbours, sparse_over
from pipelines.retrieval.past import Past
from pipelines.retrieval.sources import PLAYS_MAX, Arrays, Catalogue, Fitted

_STEPS_MAX, _PAIRS_MAX = 30, 20_000_000
_DECAY, _SHRINK_PLAYS = 0.95, 20.0


class NextPlayed:
    """Successors of liked plays."""

    def fit(self, past: Past, settings: SourceNeeds) -> Arrays:
        """How strongly each video points to each other one, a sparse matrix as arrays."""
        some = past.of_some_users(PLAYS_MAX, settings.seed)
        order = np.flatnonzero(some.liked)
        order = order[positions_by(some.user[order], len(some.user_id))[0]]
        user, video = some.user[order], some.video[order]
        videos = len(some.video_id)
        steps = min(_STEPS_MAX, max(1, _PAIRS_MAX // max(len(order), 1)), max(len(order) - 1, 0))
        starts, column, weight, (out, into) = _following(user, video, videos, steps)
        row = np.repeat(np.arange(videos, dtype=np.int32), np.diff(starts))
        scale_out, scale_into = (out + _SHRINK_PLAYS) ** -0.5, (into + _SHRINK_PLAYS) ** -0.5
        scaled = (weight * scale_out[row] * scale_into[column]).astype(np.float32)
        return {"row": row, "column": column, "value": scaled}

    def over(self, arrays: Arrays, catalogue: Catalogue) -> Fitted:
        """The pointers, in the columns of the catalogue."""
        return SparseNeighbours(sparse_over(arrays, catalogue), fading=True)


def _following(
    user: np.ndarray, video: np.ndarray, videos: int, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How strongly each video points to the others that were liked within some steps after it.

    Args:
        user, video: int32 codes of the liked plays, by user and time.

    Returns:
        Where each video's pointers begin, int64 [videos + 1], to which videos they go, int32, their weights,
        float32; and how much each video points and is pointed to, itself included: float64 [2, videos].
    """
    by_video, starts = positions_by(video, videos)
    sums = np.zeros((2, videos))
    ends = np.zeros(videos + 1, dtype=np.int64)
    column = np.empty(steps * len(video), dtype=np.int32)
    weight = np.empty(len(column), dtype=np.float32)
    _add_followers(user, video, by_video, starts, _DECAY ** np.arange(steps), sums, ends, column, weight)
    return ends, column[: ends[-1]].copy(), weight[: ends[-1]].copy(), sums


@compiled
def _add_followers(
    user: np.ndarray,
    video: np.ndarray,
    by_video: np.ndarray,
    starts: np.ndarray,
    fading: np.ndarray,
    sums: np.ndarray,
    ends: np.ndarray,
    column: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Write what `_following` returns, one video after the other, their followers ascending.

    Args:
        by_video: positions of the plays by video, from starts [videos + 1] on.
        fading: of each step.
    """
    total = np.zeros(len(starts) - 1)
    end = 0
    for source in range(len(starts) - 1):
        first = end
        for index in range(starts[source], starts[source + 1]):
            play = by_video[index]
            for step in range(len(fading)):
                later = play + 1 + step
                if later >= len(user) or user[later] != user[play]:
                    break
                follower = video[later]
                if total[follower] == 0.0:
                    column[end] = follower
                    end += 1
                total[follower] += fading[step]
        followers = column[first:end]
        followers.sort()
        end = first
        for follower in followers:
            sums[0, source] += total[follower]
            sums[1, follower] += total[follower]
            if follower != source:
                column[end] = follower
                weight[end] = total[follower]
                end += 1
            total[follower] = 0.0
        ends[source + 1] = end
