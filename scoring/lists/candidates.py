"""Who gets a list and which videos may be in it: a bit for each user and video says what was seen."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipelines.pair_bits import bits_at, bits_set
from scoring.lists.rules.owner import NO_RULES, NightRules
from scoring.lists.rules.repeats import Repeats
from scoring.lists.seen_bits import SeenBits


@dataclass(frozen=True)
class Cap:
    """At most `most` videos of one group (an author, a category) in a list.

    Attributes:
        setting: its name, for messages.
        most: at least 1.
        group: int64 [videos], negative where unknown; videos of unknown group are not capped.
    """

    setting: str
    most: int
    group: np.ndarray


@dataclass(frozen=True)
class About:
    """Facts about the videos besides their features, one entry per video.

    Attributes:
        groups: key of a catalogue group, such as the author -> int64 [videos], negative where unknown.
        uploaded_us: int64, microseconds since 1970 UTC, or when the video was first known.
    """

    groups: Mapping[str, np.ndarray]
    uploaded_us: np.ndarray

    @property
    def author(self) -> np.ndarray:
        """The author of each video."""
        return self.groups["author"]

    @property
    def category(self) -> np.ndarray:
        """The first-level category of each video."""
        return self.groups["first_level_category"]


@dataclass(frozen=True)
class Candidates:
    """The users who get a list, the eligible videos, and which of them each user has seen.

    Attributes:
        user_id: int64 [users], ascending.
        has_history: bool [users], whether the user played anything before the instant.
        video_id: int64 [videos], ascending.
        seen: of each user, one bit per video, set if it is off the user's list as already seen.
        caps: limits per group that every list keeps to.
        about: of the videos.
        rules: the owner's.
        repeats: what earlier nights listed and the user did not play; None if the settings ignore that.
        played: in the form of `seen`, what each user has played; None if it is not needed or equals `seen`.
    """

    user_id: np.ndarray
    has_history: np.ndarray
    video_id: np.ndarray
    seen: SeenBits
    caps: tuple[Cap, ...] = ()
    about: About | None = None
    rules: NightRules = NO_RULES
    repeats: Repeats | None = None
    played: SeenBits | None = None

    def of_users(self, chosen: np.ndarray | slice) -> "Candidates":
        """The same for some of the users. `chosen`: bool [users], or their indices, ascending."""
        return replace(
            self,
            user_id=self.user_id[chosen],
            has_history=self.has_history[chosen],
            seen=self.seen.of_users(chosen),
            played=None if self.played is None else self.played.of_users(chosen),
        )

    def open_to(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether each video may be in the lists of these users: bool [users, videos].

        For users who have seen every video, all are open: a list of seen videos is better than none.
        """
        closed = np.unpackbits(self.closed(users), axis=1, count=len(self.video_id))
        open_to: np.ndarray = closed == 0
        return open_to

    def open_videos(self, user: int) -> "OpenVideos":
        """The same for one user, to be looked up for a few videos at a time."""
        return OpenVideos(self.closed(slice(user, user + 1))[0], len(self.video_id))

    def closed(self, users: np.ndarray | slice) -> np.ndarray:
        """The opposite of `open_to`, as bits: uint8 [users, videos / 8], in an array of its own."""
        closed = self.seen.of(users).copy()
        closed[bits_set(closed) == len(self.video_id)] = 0
        return closed

    def rewatch(self, users: np.ndarray | slice) -> np.ndarray:
        """Whether these users have seen every video: bool [users]."""
        rewatch: np.ndarray = bits_set(self.seen.of(users)) == len(self.video_id)
        return rewatch


@dataclass(frozen=True)
class OpenVideos:
    """Which videos may be in one user's list; the cost of a lookup does not depend on the catalogue's size.

    Attributes:
        closed: uint8 [videos / 8], one bit per video, set if it may not.
        videos: size of the catalogue.
    """

    closed: np.ndarray
    videos: int

    def __len__(self) -> int:
        return self.videos - int(bits_set(self.closed))

    def holds(self, videos: np.ndarray) -> np.ndarray:
        """Whether each of these videos, given by index, is open: bool."""
        holds: np.ndarray = bits_at(self.closed, videos) == 0
        return holds

    def closed_positions(self) -> np.ndarray:
        """Indices of the videos that are not open, ascending: int64."""
        byte = np.flatnonzero(self.closed)
        row, bit = np.nonzero(np.unpackbits(self.closed[byte, None], axis=1))
        return byte[row] * 8 + bit

    def dense(self) -> np.ndarray:
        """Whether each video is open: bool [videos]."""
        dense: np.ndarray = np.unpackbits(self.closed, count=self.videos) == 0
        return dense


def first_within_caps(order: np.ndarray, caps: tuple[Cap, ...], k: int) -> np.ndarray:
    """The first `k` of these video indices that fit: each is taken if every cap still has room for it.

    Fewer than `k` are returned only if no other fits any more.
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
