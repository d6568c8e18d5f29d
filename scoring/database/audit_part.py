"""A part of a run's lists as audits read it back, and how an audit fails."""

from dataclasses import dataclass

import numpy as np

from nightreel.core.errors import AuditError
from nightreel.core.ids import Ids, ListIds
from scoring.lists.candidates import Candidates, OpenVideos
from scoring.lists.rows import Lists

REMEDY = "The lists published before stay as they were."


@dataclass(frozen=True)
class Part:
    """A run's rows for a range of users, by user and rank, and what they are checked against.

    Attributes:
        wanted: int64, the users expected in this range.
        most: int64, the largest possible list length of each expected user.
        closed: uint8 [users, videos / 8], as `Candidates.closed` gives it.
        user: int64 [rows], index of each row's user in `wanted`.
        video: int64 [rows], index of each row's video in `candidates.video_id`.
    """

    lists: Lists
    ids: ListIds
    candidates: Candidates
    wanted: np.ndarray
    most: np.ndarray
    closed: np.ndarray
    user: np.ndarray
    video: np.ndarray
    arm: str = ""


def has_room(part: Part, user: int) -> bool:
    """Whether every cap leaves room in this user's list for another open video."""
    return bool(fitting(part, user).any())


def fitting(part: Part, user: int) -> np.ndarray:
    """The other open videos that every cap leaves room for in this user's list: bool [videos]."""
    listed = part.video[part.user == user]
    fits = OpenVideos(part.closed[user], len(part.candidates.video_id)).dense()
    fits[listed] = False
    for cap in part.candidates.caps:
        groups, counts = np.unique(cap.group[listed], return_counts=True)
        full = groups[(counts >= cap.most) & (groups >= 0)]
        fits &= ~np.isin(cap.group, full)
    return fits


def named(ids: Ids, code: int) -> int | str:
    """An id as the log has it, for messages."""
    found = ids.outward([code])[0] if not ids.is_text or len(ids.codes_between(code, code)) else "unknown"
    return repr(found) if isinstance(found, str) else found


def fail(name: str, bad: np.ndarray, lists: Lists, ids: ListIds, what: str) -> None:
    """Raise AuditError, which quotes the first bad row, if any row is bad."""
    if bad.any():
        first = np.flatnonzero(bad)[0]
        raise AuditError(
            f"audit `{name}`: {bad.sum()} {what}; the first is user "
            f"{named(ids.user, lists.user_id[first])}, rank {lists.rank[first]}, video "
            f"{named(ids.video, lists.video_id[first])}, score {lists.score[first]}.",
            REMEDY,
        )
