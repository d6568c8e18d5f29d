"""Who gets a list and which videos may stand in it: a bit for each user and video says what was seen."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Candidates:
    """Users, the videos that may be listed, and which of these each user has seen.

    user_id: int64 [users], ascending. has_history: bool [users], whether a play of theirs came before the
    instant. video_id: int64 [videos], ascending. seen: uint8 [users, videos / 8], a bit a video, set where
    the user's having seen it keeps it off the list.
    """

    user_id: np.ndarray
    has_history: np.ndarray
    video_id: np.ndarray
    seen: np.ndarray

    def open_to(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether each video may stand in the lists of these users: bool [users, videos].

        For users who have seen every video, all of them: a list of old friends is better than none.
        """
        unseen = self._unseen(users)
        unseen[~unseen.any(axis=1)] = True
        return unseen

    def rewatch(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether these users have seen every video: bool [users]."""
        rewatch: np.ndarray = np.logical_not(self._unseen(users).any(axis=1))
        return rewatch

    def _unseen(self, users: np.ndarray | slice) -> np.ndarray:
        unseen: np.ndarray = np.unpackbits(self.seen[users], axis=1, count=len(self.video_id)) == 0
        return unseen


def no_seen(users: int, videos: int) -> np.ndarray:
    """The `seen` of Candidates where nobody has seen anything."""
    return np.zeros((users, -(-videos // 8)), dtype=np.uint8)
