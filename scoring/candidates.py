"""Who gets a list and which videos may stand in it: a bit for each user and video says what was seen."""

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cap:
    """At most so many videos of one group (an author, a category) in a list.

    setting: its name, for messages. most: at least 1. group: int64 [videos], negative where unknown: any
    number of those may stand in a list.
    """

    setting: str
    most: int
    group: np.ndarray


@dataclass(frozen=True)
class About:
    """What is known of videos beside their features, one entry a video.

    author, category: int64, of the first level, negative where unknown. uploaded_us: int64, microseconds
    since 1970 UTC, or when the video was first known.
    """

    author: np.ndarray
    category: np.ndarray
    uploaded_us: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """Users, the videos that may be listed, and which of these each user has seen.

    user_id: int64 [users], ascending. has_history: bool [users], whether a play of theirs came before the
    instant. video_id: int64 [videos], ascending. seen: uint8 [users, videos / 8], a bit a video, set where
    the user's having seen it keeps it off the list. caps: what else a list keeps to. about: of the videos.
    """

    user_id: np.ndarray
    has_history: np.ndarray
    video_id: np.ndarray
    seen: np.ndarray
    caps: tuple[Cap, ...] = ()
    about: About | None = None

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


def first_within_caps(order: np.ndarray, caps: tuple[Cap, ...], k: int) -> np.ndarray:
    """The first `k` of these places of videos, each taken where the caps still have room for it.

    Fewer than `k` come back only where none of the others fits any more.
    """
    if not caps:
        return order[:k]
    taken: list[int] = []
    counts = [Counter[int]() for _ in caps]
    groups = zip(*(cap.group[order].tolist() for cap in caps), strict=True)
    for at, of_video in enumerate(groups):
        if len(taken) == k:
            break
        if all(
            group < 0 or count[group] < cap.most
            for group, count, cap in zip(of_video, counts, caps, strict=True)
        ):
            taken.append(at)
            for group, count in zip(of_video, counts, strict=True):
                count[group] += 1
    return order[taken]


def no_seen(users: int, videos: int) -> np.ndarray:
    """The `seen` of Candidates where nobody has seen anything."""
    return np.zeros((users, -(-videos // 8)), dtype=np.uint8)
