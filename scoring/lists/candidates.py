"""Who gets a list and which videos may stand in it: a bit for each user and video says what was seen."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from scoring.lists.rules.owner import NO_RULES, NightRules
from scoring.lists.rules.repeats import Repeats


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

    groups: int64 of each of the catalogue's groups by its key, such as the author; negative where unknown.
    uploaded_us: int64, microseconds since 1970 UTC, or when the video was first known.
    """

    groups: Mapping[str, np.ndarray]
    uploaded_us: np.ndarray

    @property
    def author(self) -> np.ndarray:
        """Who uploaded each video."""
        return self.groups["author"]

    @property
    def category(self) -> np.ndarray:
        """The category of the first level."""
        return self.groups["first_level_category"]


@dataclass(frozen=True)
class Candidates:
    """Users, the videos that may be listed, and which of these each user has seen.

    user_id: int64 [users], ascending. has_history: bool [users], whether a play of theirs came before the
    instant. video_id: int64 [videos], ascending. seen: uint8 [users, videos / 8], a bit a video, set where
    the user's having seen it keeps it off the list. caps: what else a list keeps to. about: of the videos.
    rules: the owner's. repeats: what earlier nights have listed in vain, where that counts.
    played: as `seen`, what each user has played, where that counts and seen does not say it.
    """

    user_id: np.ndarray
    has_history: np.ndarray
    video_id: np.ndarray
    seen: np.ndarray
    caps: tuple[Cap, ...] = ()
    about: About | None = None
    rules: NightRules = NO_RULES
    repeats: Repeats | None = None
    played: np.ndarray | None = None

    def of_users(self, chosen: np.ndarray) -> "Candidates":
        """The same for some of the users alone. chosen: bool [users], or their positions, ascending."""
        return replace(
            self,
            user_id=self.user_id[chosen],
            has_history=self.has_history[chosen],
            seen=self.seen[chosen],
            played=None if self.played is None else self.played[chosen],
        )

    def open_to(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether each video may stand in the lists of these users: bool [users, videos].

        For users who have seen every video, all of them: a list of old friends is better than none.
        """
        closed = np.unpackbits(self.closed(users), axis=1, count=len(self.video_id))
        open_to: np.ndarray = closed == 0
        return open_to

    def open_videos(self, user: int) -> "OpenVideos":
        """The same for one user, to be asked of some videos at a time."""
        return OpenVideos(self.closed(slice(user, user + 1))[0], len(self.video_id))

    def closed(self, users: np.ndarray | slice) -> np.ndarray:
        """The opposite of `open_to` in bits as `seen` has them: uint8 [users, videos / 8]."""
        closed = self.seen[users].copy()
        closed[self.rewatch(users)] = 0
        return closed

    def rewatch(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether these users have seen every video: bool [users]."""
        rewatch: np.ndarray = bits_set(self.seen[users]) == len(self.video_id)
        return rewatch


@dataclass(frozen=True)
class OpenVideos:
    """Which videos may stand in one user's list; a question costs what it asks of, whatever the catalogue.

    closed: uint8 [videos / 8], a bit a video, set where it may not. videos: of the catalogue.
    """

    closed: np.ndarray
    videos: int

    def __len__(self) -> int:
        return self.videos - int(bits_set(self.closed))

    def holds(self, videos: np.ndarray) -> np.ndarray:
        """Whether each of these places of videos is open: bool [places]."""
        holds: np.ndarray = bits_at(self.closed, videos) == 0
        return holds

    def closed_places(self) -> np.ndarray:
        """Places of the videos that are not open, ascending: int64."""
        byte = np.flatnonzero(self.closed)
        row, bit = np.nonzero(np.unpackbits(self.closed[byte, None], axis=1))
        return byte[row] * 8 + bit

    def dense(self) -> np.ndarray:
        """Whether each video is open: bool [videos]."""
        dense: np.ndarray = np.unpackbits(self.closed, count=self.videos) == 0
        return dense


def bits_set(bits: np.ndarray) -> np.ndarray:
    """How many bits are set in a row, or in each row: int64 [rows]."""
    found: np.ndarray = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return found


def bits_at(bits: np.ndarray, *places: np.ndarray) -> np.ndarray:
    """Bits of a row, or of rows, at these places of videos, 0 or 1: uint8. places: of the rows first, if any.

    As `packbits` has them, the first in the highest.
    """
    *rows, video = places
    found: np.ndarray = (bits[(*rows, video >> 3)] >> (7 - (video & 7)).astype(np.uint8)) & 1
    return found


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
