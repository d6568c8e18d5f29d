"""Videos that earlier nights listed for a user who has not played them: lists in a few bytes per user.

For ten million users with 20 videos each this is 10,000,000 x (20 x 5 + 16) bytes = 1.2 GB, with 50, the
most, 2.7 GB (docs/rules.md); it is read and written in blocks of a few thousand users.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nightreel.core.ascending import indices_in

NIGHTS_MAX = 255
# Per user: those of the newest list first, then those listed on most nights.
VIDEOS_MAX = 50


@dataclass(frozen=True)
class Repeats:
    """Videos listed on earlier nights and not played, of all users one after the other.

    Attributes:
        user_id: int64, ascending.
        starts: int64 [users + 1], where each user's entries begin.
        video: int32, index in `video_id`.
        nights: uint8, how many nights listed it.
        video_id: int64, ascending.
        after_run: id of the last run that is counted.
    """

    user_id: np.ndarray
    starts: np.ndarray
    video: np.ndarray
    nights: np.ndarray
    video_id: np.ndarray
    after_run: int | None = None

    def __len__(self) -> int:
        return len(self.video)

    def of_user(self, user_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The user's videos (int64 ids), and on how many nights each was listed without being played."""
        at = int(np.searchsorted(self.user_id, user_id))
        if at == len(self.user_id) or self.user_id[at] != user_id:
            return self.video_id[:0], self.nights[:0]
        of_user = slice(int(self.starts[at]), int(self.starts[at + 1]))
        return self.video_id[self.video[of_user]], self.nights[of_user]

    @classmethod
    def of(cls, users: Iterable[tuple[int, np.ndarray, np.ndarray]], video_id: np.ndarray) -> "Repeats":
        """Build from users by ascending id: id, video ids (int64, all in `video_id`), nights of each."""
        ids, lengths, videos, nights = [], [0], [], []
        for user, of_user, listed in users:
            ids.append(user)
            lengths.append(len(of_user))
            videos.append(np.searchsorted(video_id, of_user).astype(np.int32))
            nights.append(listed.astype(np.uint8))
        return cls(
            np.array(ids, dtype=np.int64),
            np.cumsum(lengths, dtype=np.int64),
            np.concatenate([np.zeros(0, np.int32), *videos]),
            np.concatenate([np.zeros(0, np.uint8), *nights]),
            video_id,
        )


def after_night(
    before: tuple[np.ndarray, np.ndarray], listed: np.ndarray, played: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A user's videos and nights after one more list was shown; all ids int64.

    Newly listed videos come first if there is no room for all.

    Args:
        before: videos and nights as of the night before.
        listed: the first rows of the new list.
        played: videos that the user has played.
    """
    videos, nights = before
    both = np.union1d(videos, listed)
    both = both[~np.isin(both, played)]
    count = np.zeros(len(both), dtype=np.int64)
    known = np.isin(videos, both)
    count[np.searchsorted(both, videos[known])] = nights[known]
    is_new = np.isin(both, listed)
    count[is_new] += 1
    kept = np.sort(np.lexsort((both, -count, ~is_new))[:VIDEOS_MAX])
    return both[kept], np.minimum(count[kept], NIGHTS_MAX).astype(np.uint8)


@dataclass(frozen=True)
class RepeatDiscount:
    """Moves videos down that were listed on at least `nights` nights without being played.

    Its position is divided by 1 - discount, once for each night from that number on.
    """

    repeats: Repeats
    nights: int
    discount: float

    def factors(self, user_id: int, video_id: np.ndarray) -> np.ndarray:
        """The factors of these videos' positions: float64, 1 for no discount."""
        factors = np.ones(len(video_id))
        videos, nights = self.repeats.of_user(user_id)
        if len(videos):
            order = np.argsort(videos)
            at, known = indices_in(videos[order], video_id)
            times = np.where(known, nights[order[at]].astype(np.int64) - self.nights + 1, 0)
            factors = (1 - self.discount) ** -np.maximum(times, 0).astype(np.float64)
        return factors
