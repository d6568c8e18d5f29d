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
    """The rows of a range of users, by user and rank, beside what they must be.

    wanted: int64, the users of this range. most: int64, the most rows that each of them can have. closed:
    uint8 [users, videos / 8], as of Candidates. user, video: int64 [rows of lists], each row's place among
    the wanted users and the candidates.
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
    """Whether another open video would fit in this user's list by every cap."""
    return bool(fitting(part, user).any())


def fitting(part: Part, user: int) -> np.ndarray:
    """Which other open videos would fit in this user's list by every cap: bool [videos]."""
    listed = part.video[part.user == user]
    fits = OpenVideos(part.closed[user], len(part.candidates.video_id)).dense()
    fits[listed] = False
    for cap in part.candidates.caps:
        groups, counts = np.unique(cap.group[listed], return_counts=True)
        full = groups[(counts >= cap.most) & (groups >= 0)]
        fits &= ~np.isin(cap.group, full)
    return fits


def named(ids: Ids, code: int) -> int | str:
    """An id as people know it."""
    found = ids.outward([code])[0] if not ids.is_text or len(ids.codes_between(code, code)) else "unknown"
    return repr(found) if isinstance(found, str) else found


def fail(name: str, bad: np.ndarray, lists: Lists, ids: ListIds, what: str) -> None:
    if bad.any():
        first = np.flatnonzero(bad)[0]
        raise AuditError(
            f"audit `{name}`: {bad.sum()} {what}; the first is user "
            f"{named(ids.user, lists.user_id[first])}, rank {lists.rank[first]}, video "
            f"{named(ids.video, lists.video_id[first])}, score {lists.score[first]}.",
            REMEDY,
        )
