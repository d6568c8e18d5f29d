"""Checks of a run's lists, read back from the database, before anyone is shown them.

Each has a name and fails with what, how many and the first case. None trusts scoring's own word.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from nightreel.core.errors import AuditError
from nightreel.core.ids import INTEGERS, Ids, ListIds
from nightreel.core.own_models import SOURCES, own_names
from nightreel.core.settings import CANDIDATE_SOURCES, RETRIEVAL_SOURCES
from scoring.database.loading import read_lists, row_count
from scoring.lists.candidates import Candidates, OpenVideos, bits_at, bits_set
from scoring.lists.rows import HYBRID, Lists

_USERS_AT_A_TIME = 512
_INT64 = np.iinfo(np.int64)

_REMEDY = "The lists published before stay as they were."


@dataclass(frozen=True)
class _Part:
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


def audit_lists(
    connection: Connection, run_id: int, candidates: Candidates, k: int, ids: ListIds = INTEGERS
) -> int:
    """Read the run back and hold every list against the candidates; returns its rows.

    Raises AuditError where a user is missing or unknown, a list has not min(k, available) rows though the
    caps have room for more, ranks are not 1..n, a video stands twice, may not be listed or was seen, more of
    a group than its cap stand in a list, a score is not finite, scores rise with rank, or candidate sources
    are named that are unknown or that a fallback cannot have.
    """
    rows = 0
    for part in _parts(connection, run_id, candidates, k, ids):
        for check in _CHECKS:
            check(part)
        rows += len(part.lists)
    if ids.user.is_text and (there := row_count(connection, run_id)) != rows:
        raise AuditError(f"audit `every eligible user`: {there - rows} rows are of unknown users.", _REMEDY)
    return rows


def _known_sources() -> set[str]:
    return {*CANDIDATE_SOURCES, *RETRIEVAL_SOURCES, *own_names(SOURCES)}


def finite_scores(lists: Lists, ids: ListIds = INTEGERS) -> None:
    """Raise AuditError unless every `score` is a finite number and no stage's score is infinite."""
    stages = (lists.classifier_score, lists.regressor_score, lists.als_score)
    bad = ~np.isfinite(lists.score) | np.any([np.isinf(values) for values in stages], axis=0)
    _fail("finite scores", bad, lists, ids, "rows have a score that is not a finite number")


def in_line_with_last(what: str, now: int, before: int, min_share: float) -> None:
    """Raise AuditError where a run has far fewer users or rows (`what`) than the one published before it."""
    if now < min_share * before:
        raise AuditError(
            f"audit `{what} in line with the last run`: {now} {what}, the last run had {before}; at least "
            f"{min_share:.0%} of that are wanted (setting [database] min_share_of_last_run).",
            _REMEDY,
        )


def few_changed_lists(
    connection: Connection,
    runs: tuple[int, int],
    candidates: Candidates,
    max_share: float,
    ids: ListIds = INTEGERS,
) -> None:
    """Raise AuditError where more than this share of the lists have lost more than half of their videos.

    runs: the new one and the last one.
    """
    changed = _share_of_changed_lists(connection, runs, candidates, ids)
    if changed > max_share:
        raise AuditError(
            f"audit `changed lists`: {changed:.1%} of the lists have lost more than half of their videos, at "
            f"most {max_share:.1%} may (setting [database] max_changed_lists).",
            _REMEDY,
        )


def _share_of_changed_lists(
    connection: Connection, runs: tuple[int, int], candidates: Candidates, ids: ListIds
) -> float:
    """Share of the users of both runs whose new list has less than half of the videos of their last one."""
    both = changed = 0
    for first, last, _ in _ranges(candidates.user_id):
        new, old = (read_lists(connection, run, first, last, ids) for run in runs)
        of_both = np.intersect1d(new.user_id, old.user_id)
        videos = np.union1d(new.video_id, old.video_id)
        new_pairs, old_pairs = (
            _place(of_both, lists.user_id[rows]) * len(videos) + _place(videos, lists.video_id[rows])
            for lists in (new, old)
            for rows in [np.isin(lists.user_id, of_both)]
        )
        user = old_pairs // max(len(videos), 1)
        kept = np.bincount(user, np.isin(old_pairs, new_pairs), minlength=len(of_both))
        size = np.bincount(user, minlength=len(of_both))
        both += len(of_both)
        changed += int((2 * kept < size).sum())
    return changed / both if both else 0.0


def _ranges(user_id: np.ndarray) -> Iterator[tuple[int, int, slice]]:
    """Ranges of ids, both ends included, that together cover every possible id, and the users in each."""
    starts = range(0, len(user_id), _USERS_AT_A_TIME)
    for start in starts:
        stop = start + _USERS_AT_A_TIME
        first = int(user_id[start]) if start else int(_INT64.min)
        last = int(user_id[stop]) - 1 if stop < len(user_id) else int(_INT64.max)
        yield first, last, slice(start, min(stop, len(user_id)))


def _parts(
    connection: Connection, run_id: int, candidates: Candidates, k: int, ids: ListIds
) -> Iterator[_Part]:
    for first, last, users in _ranges(candidates.user_id):
        lists = read_lists(connection, run_id, first, last, ids)
        wanted = candidates.user_id[users]
        closed = candidates.closed(users)
        available = len(candidates.video_id) - bits_set(closed)
        yield _Part(
            lists,
            ids,
            candidates,
            wanted,
            np.minimum(available, k),
            closed,
            _place(wanted, lists.user_id),
            _place(candidates.video_id, lists.video_id),
        )


def _place(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of each value in `known`, ascending; where it is not there, that of another."""
    return np.minimum(np.searchsorted(known, values), max(len(known) - 1, 0))


def _every_user(part: _Part) -> None:
    missing = ~np.isin(part.wanted, part.lists.user_id) & (part.most > 0)
    if missing.any():
        raise AuditError(
            f"audit `every eligible user`: {missing.sum()} users have no list; the first is user "
            f"{_named(part.ids.user, part.wanted[missing][0])}.",
            _REMEDY,
        )
    unknown = part.wanted[part.user] != part.lists.user_id
    _fail("every eligible user", unknown, part.lists, part.ids, "rows are of users who are not eligible")


def _full_lists(part: _Part) -> None:
    rows = np.bincount(part.user, minlength=len(part.wanted))
    wrong = rows != part.most
    if part.candidates.caps:
        for user in np.flatnonzero(rows < part.most).tolist():
            wrong[user] = _has_room(part, user)
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise AuditError(
            f"audit `full lists`: {wrong.sum()} users have not as many rows as there are videos for them; "
            f"the first is user {_named(part.ids.user, part.wanted[first])}, with {rows[first]} rows "
            f"instead of {part.most[first]}.",
            _REMEDY,
        )


def _has_room(part: _Part, user: int) -> bool:
    """Whether another open video would fit in this user's list by every cap."""
    listed = part.video[part.user == user]
    fits = OpenVideos(part.closed[user], len(part.candidates.video_id)).dense()
    fits[listed] = False
    for cap in part.candidates.caps:
        groups, counts = np.unique(cap.group[listed], return_counts=True)
        full = groups[(counts >= cap.most) & (groups >= 0)]
        fits &= ~np.isin(cap.group, full)
    return bool(fits.any())


def _within_caps(part: _Part) -> None:
    for cap in part.candidates.caps:
        group = cap.group[part.video]
        order = np.lexsort((part.lists.rank, group, part.user))
        user, group = part.user[order], group[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (user[1:] != user[:-1]) | (group[1:] != group[:-1])
        places = np.arange(len(order))
        in_group = places - np.maximum.accumulate(np.where(begins, places, 0))
        over = np.zeros(len(order), dtype=bool)
        over[order] = (in_group >= cap.most) & (group >= 0)
        _fail(
            f"at most {cap.most} by {cap.setting}",
            over,
            part.lists,
            part.ids,
            "rows are one too many of their group",
        )


def _ranks_without_gap(part: _Part) -> None:
    begins = np.searchsorted(part.user, np.arange(len(part.wanted)))
    expected = np.arange(len(part.lists)) - begins[part.user] + 1
    wrong = part.lists.rank != expected
    _fail("ranks 1..n", wrong, part.lists, part.ids, "rows have a rank that leaves a gap before it")


def _distinct_videos(part: _Part) -> None:
    order = np.lexsort((part.lists.rank, part.lists.video_id, part.user))
    user, video = part.user[order], part.lists.video_id[order]
    twice = np.zeros(len(order), dtype=bool)
    twice[order[1:]] = (user[1:] == user[:-1]) & (video[1:] == video[:-1])
    _fail("distinct videos", twice, part.lists, part.ids, "rows repeat a video of the same list")


def _listable_videos(part: _Part) -> None:
    hidden = part.candidates.video_id[part.video] != part.lists.video_id
    _fail(
        "listable videos",
        hidden,
        part.lists,
        part.ids,
        "rows have a video that is unknown or may not be listed",
    )


def _unseen_videos(part: _Part) -> None:
    seen = bits_at(part.closed, part.user, part.video) == 1
    _fail("unseen videos", seen, part.lists, part.ids, "rows have a video that the user has seen")


def _finite(part: _Part) -> None:
    finite_scores(part.lists, part.ids)


def _scores_by_rank(part: _Part) -> None:
    rises = np.zeros(len(part.lists), dtype=bool)
    rises[1:] = (part.user[1:] == part.user[:-1]) & (part.lists.score[1:] > part.lists.score[:-1])
    _fail(
        "scores ordered by rank", rises, part.lists, part.ids, "rows have a higher score than the rank before"
    )


def _candidate_sources(part: _Part) -> None:
    names, name = np.unique(part.lists.candidate_sources, return_inverse=True)
    wrong = [_are_wrong(one.split(",")) for one in names.tolist()]
    bad = np.array(wrong, dtype=bool)[name] & (part.lists.candidate_sources != "")
    _fail(
        "candidate sources",
        bad,
        part.lists,
        part.ids,
        "rows name a candidate source that is unknown, or one twice",
    )
    none = (part.lists.source != HYBRID) & (part.lists.candidate_sources != "")
    _fail("candidate sources", none, part.lists, part.ids, "rows of a fallback name a candidate source")


def _are_wrong(names: list[str]) -> bool:
    return len(set(names)) != len(names) or not _known_sources().issuperset(names)


# In this order: each may rely on those before it.
_CHECKS: Iterable[Callable[[_Part], None]] = (
    _every_user,
    _full_lists,
    _ranks_without_gap,
    _distinct_videos,
    _listable_videos,
    _unseen_videos,
    _within_caps,
    _finite,
    _scores_by_rank,
    _candidate_sources,
)


def _named(ids: Ids, code: int) -> int | str:
    """An id as people know it."""
    found = ids.outward([code])[0] if not ids.is_text or len(ids.codes_between(code, code)) else "unknown"
    return repr(found) if isinstance(found, str) else found


def _fail(name: str, bad: np.ndarray, lists: Lists, ids: ListIds, what: str) -> None:
    if bad.any():
        first = np.flatnonzero(bad)[0]
        raise AuditError(
            f"audit `{name}`: {bad.sum()} {what}; the first is user "
            f"{_named(ids.user, lists.user_id[first])}, rank {lists.rank[first]}, video "
            f"{_named(ids.video, lists.video_id[first])}, score {lists.score[first]}.",
            _REMEDY,
        )
