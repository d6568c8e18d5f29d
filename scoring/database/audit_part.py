"""A part of a run's lists as audits read it back, and how an audit fails."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nightreel.core.ascending import indices_in
from nightreel.core.errors import AuditError
from nightreel.core.ids import Ids, ListIds
from pipelines.pair_bits import bits_set
from scoring.database.loading import no_lists
from scoring.lists.candidates import Candidates, OpenVideos
from scoring.lists.rows import Lists

REMEDY = "The lists published before stay as they were."
_USERS_AT_A_TIME = 512


@dataclass(frozen=True)
class Part:
    """A run's rows for a range of users, by user and rank, and what they are checked against.

    Attributes:
        expected: int64, the users expected in this range.
        most: int64, the largest possible list length of each expected user.
        closed: uint8 [users, videos / 8], as `Candidates.closed` gives it.
        user: int64 [rows], index of each row's user in `expected`.
        video: int64 [rows], index of each row's video in `candidates.video_id`.
    """

    lists: Lists
    ids: ListIds
    candidates: Candidates
    expected: np.ndarray
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


def parts_of(lists: Lists, audited: Sequence["Audited"], k: int, ids: ListIds) -> Iterator[Part]:
    """The rows by arms, some users at a time; AuditError where a user is in none of them."""
    known = np.zeros(len(lists), dtype=bool)
    for one in audited:
        known |= one.knows(lists.user_id)
    fail("every eligible user", ~known, lists, ids, "rows are of users who are not eligible")
    for one in audited:
        yield from one.parts(lists, k, ids)


class Audited:
    """The users of an arm, or of a run without arms, and which of them had rows so far."""

    def __init__(self, arm: str, candidates: Candidates) -> None:
        self._arm, self._candidates = arm, candidates
        self._had_rows = np.zeros(len(candidates.user_id), dtype=bool)

    def knows(self, user_id: np.ndarray) -> np.ndarray:
        """Whether each of these is a user of the arm: bool."""
        return indices_in(self._candidates.user_id, user_id)[1]

    def parts(self, lists: Lists, k: int, ids: ListIds) -> Iterator[Part]:
        """The arm's rows among these, which have whole lists by user and rank."""
        own = lists.rows(self.knows(lists.user_id)) if self._arm else lists
        user, _ = indices_in(self._candidates.user_id, own.user_id)
        begins = np.flatnonzero(np.diff(user, prepend=-1))
        for start in range(0, len(begins), _USERS_AT_A_TIME):
            first = begins[start : start + _USERS_AT_A_TIME]
            stop = start + _USERS_AT_A_TIME
            end = begins[stop] if stop < len(begins) else len(own)
            yield self._part(own.rows(slice(int(first[0]), int(end))), user[first], k, ids)
            self._had_rows[user[first]] = True

    def without_rows(self, k: int, ids: ListIds) -> Iterator[Part]:
        """The users without rows."""
        users = np.flatnonzero(~self._had_rows)
        for start in range(0, len(users), _USERS_AT_A_TIME):
            yield self._part(no_lists(), users[start : start + _USERS_AT_A_TIME], k, ids)

    def _part(self, lists: Lists, users: np.ndarray, k: int, ids: ListIds) -> Part:
        candidates = self._candidates
        expected, closed = candidates.user_id[users], candidates.closed(users)
        available = len(candidates.video_id) - bits_set(closed)
        return Part(
            lists,
            ids,
            candidates,
            expected,
            np.minimum(available, k),
            closed,
            indices_in(expected, lists.user_id)[0],
            indices_in(candidates.video_id, lists.video_id)[0],
            self._arm,
        )
