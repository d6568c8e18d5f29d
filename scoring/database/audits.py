"""Checks of a run's lists, read back from the database, before anyone is shown them.

Each has a name and fails with what, how many and the first case. None trusts scoring's own word.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from sqlalchemy import Connection

from nightreel.core.errors import AuditError
from nightreel.core.ids import INTEGERS, ListIds
from nightreel.core.own_models import SOURCES, own_names
from nightreel.core.settings import CANDIDATE_SOURCES, RETRIEVAL_SOURCES
from scoring.database.audit_part import REMEDY, Part, fail, has_room, named
from scoring.database.loading import read_lists, row_count
from scoring.database.rule_audits import rules_kept
from scoring.lists.candidates import Candidates, bits_at, bits_set
from scoring.lists.rows import HYBRID, Lists

_USERS_AT_A_TIME = 512
_INT64 = np.iinfo(np.int64)


def audit_lists(
    connection: Connection,
    run_id: int,
    candidates: Candidates,
    k: int,
    ids: ListIds = INTEGERS,
    *,
    arm: str = "",
    broken: Counter[str] | None = None,
) -> int:
    """Read a run back and check every list against the candidates.

    Args:
        candidates: of the run, or of the users of `arm`.
        k: list length.
        arm: of an experiment; rows of other arms are ignored.
        broken: rule name -> number of lists that could not keep to it; updated.

    Returns:
        Number of rows of the run, or of the arm.

    Raises:
        AuditError: a user is missing or unknown; a list is shorter than min(k, available) although caps leave
            room; ranks are not 1..n; a video occurs twice, is not eligible or was seen; a cap is exceeded; a
            score is not finite, or scores rise with rank; a candidate source is unknown or impossible for a
            fallback; an owner's rule was broken without need, or a row names an unknown rule.
    """
    rows = 0
    not_kept: Counter[str] = Counter() if broken is None else broken
    for part in _parts(connection, run_id, candidates, k, ids, arm=arm):
        for check in _CHECKS:
            check(part)
        not_kept.update(rules_kept(part, k))
        rows += len(part.lists)
    if ids.user.is_text and not arm:
        require_all_audited(connection, run_id, rows)
    return rows


def require_all_audited(connection: Connection, run_id: int, rows: int) -> None:
    """Raise AuditError unless the run has exactly the number of rows that were audited."""
    if (there := row_count(connection, run_id)) != rows:
        raise AuditError(f"audit `every eligible user`: {there - rows} rows are of unknown users.", REMEDY)


def _known_sources() -> set[str]:
    return {*CANDIDATE_SOURCES, *RETRIEVAL_SOURCES, *own_names(SOURCES)}


def finite_scores(lists: Lists, ids: ListIds = INTEGERS) -> None:
    """Raise AuditError unless every `score` is a finite number and no stage's score is infinite."""
    stages = (lists.classifier_score, lists.regressor_score, lists.als_score)
    bad = ~np.isfinite(lists.score) | np.any([np.isinf(values) for values in stages], axis=0)
    fail("finite scores", bad, lists, ids, "rows have a score that is not a finite number")


def in_line_with_last(what: str, now: int, before: int, min_share: float) -> None:
    """Raise AuditError if `now` is less than `min_share` of `before`, the last published run's count.

    Args:
        what: what is counted, users or rows, for the message.
    """
    if now < min_share * before:
        raise AuditError(
            f"audit `{what} in line with the last run`: {now} {what}, the last run had {before}; at least "
            f"{min_share:.0%} of that are wanted (setting [database] min_share_of_last_run).",
            REMEDY,
        )


def few_changed_lists(
    connection: Connection,
    runs: tuple[int, int],
    candidates: Candidates,
    max_share: float,
    ids: ListIds = INTEGERS,
) -> None:
    """Raise AuditError if more than `max_share` of the lists lost over half of their videos.

    Args:
        runs: ids of the new run and of the last one.
    """
    changed = _share_of_changed_lists(connection, runs, candidates, ids)
    if changed > max_share:
        raise AuditError(
            f"audit `changed lists`: {changed:.1%} of the lists have lost more than half of their videos, at "
            f"most {max_share:.1%} may (setting [database] max_changed_lists).",
            REMEDY,
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
    connection: Connection, run_id: int, candidates: Candidates, k: int, ids: ListIds, *, arm: str
) -> Iterator[Part]:
    for first, last, users in _ranges(candidates.user_id):
        lists = read_lists(connection, run_id, first, last, ids)
        wanted = candidates.user_id[users]
        if arm:
            lists = lists.rows(np.isin(lists.user_id, wanted))
        closed = candidates.closed(users)
        available = len(candidates.video_id) - bits_set(closed)
        yield Part(
            lists,
            ids,
            candidates,
            wanted,
            np.minimum(available, k),
            closed,
            _place(wanted, lists.user_id),
            _place(candidates.video_id, lists.video_id),
            arm,
        )


def _place(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Place of each value in `known`, ascending; where it is not there, that of another."""
    return np.minimum(np.searchsorted(known, values), max(len(known) - 1, 0))


def _every_user(part: Part) -> None:
    missing = ~np.isin(part.wanted, part.lists.user_id) & (part.most > 0)
    if missing.any():
        raise AuditError(
            f"audit `every eligible user`: {missing.sum()} users have no list; the first is user "
            f"{named(part.ids.user, part.wanted[missing][0])}.",
            REMEDY,
        )
    unknown = part.wanted[part.user] != part.lists.user_id
    fail("every eligible user", unknown, part.lists, part.ids, "rows are of users who are not eligible")


def _full_lists(part: Part) -> None:
    rows = np.bincount(part.user, minlength=len(part.wanted))
    wrong = rows != part.most
    if part.candidates.caps:
        for user in np.flatnonzero(rows < part.most).tolist():
            wrong[user] = has_room(part, user)
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise AuditError(
            f"audit `full lists`: {wrong.sum()} users have not as many rows as there are videos for them; "
            f"the first is user {named(part.ids.user, part.wanted[first])}, with {rows[first]} rows "
            f"instead of {part.most[first]}.",
            REMEDY,
        )


def _within_caps(part: Part) -> None:
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
        fail(
            f"at most {cap.most} by {cap.setting}",
            over,
            part.lists,
            part.ids,
            "rows are one too many of their group",
        )


def _ranks_without_gap(part: Part) -> None:
    begins = np.searchsorted(part.user, np.arange(len(part.wanted)))
    expected = np.arange(len(part.lists)) - begins[part.user] + 1
    wrong = part.lists.rank != expected
    fail("ranks 1..n", wrong, part.lists, part.ids, "rows have a rank that leaves a gap before it")


def _distinct_videos(part: Part) -> None:
    order = np.lexsort((part.lists.rank, part.lists.video_id, part.user))
    user, video = part.user[order], part.lists.video_id[order]
    twice = np.zeros(len(order), dtype=bool)
    twice[order[1:]] = (user[1:] == user[:-1]) & (video[1:] == video[:-1])
    fail("distinct videos", twice, part.lists, part.ids, "rows repeat a video of the same list")


def _listable_videos(part: Part) -> None:
    hidden = part.candidates.video_id[part.video] != part.lists.video_id
    fail(
        "listable videos",
        hidden,
        part.lists,
        part.ids,
        "rows have a video that is unknown or may not be listed",
    )


def _unseen_videos(part: Part) -> None:
    seen = bits_at(part.closed, part.user, part.video) == 1
    fail("unseen videos", seen, part.lists, part.ids, "rows have a video that the user has seen")


def _of_arm(part: Part) -> None:
    fail("arms", part.lists.arm != part.arm, part.lists, part.ids, "rows are of another arm")


def _finite(part: Part) -> None:
    finite_scores(part.lists, part.ids)


def _scores_by_rank(part: Part) -> None:
    # What a rule has moved stands where the rule says.
    own = np.flatnonzero(part.lists.rule == "")
    user, score = part.user[own], part.lists.score[own]
    rises = np.zeros(len(part.lists), dtype=bool)
    rises[own[1:]] = (user[1:] == user[:-1]) & (score[1:] > score[:-1])
    fail(
        "scores ordered by rank", rises, part.lists, part.ids, "rows have a higher score than the rank before"
    )


def _candidate_sources(part: Part) -> None:
    names, name = np.unique(part.lists.candidate_sources, return_inverse=True)
    wrong = [_are_wrong(one.split(",")) for one in names.tolist()]
    bad = np.array(wrong, dtype=bool)[name] & (part.lists.candidate_sources != "")
    fail(
        "candidate sources",
        bad,
        part.lists,
        part.ids,
        "rows name a candidate source that is unknown, or one twice",
    )
    none = (part.lists.source != HYBRID) & (part.lists.candidate_sources != "")
    fail("candidate sources", none, part.lists, part.ids, "rows of a fallback name a candidate source")


def _are_wrong(names: list[str]) -> bool:
    return len(set(names)) != len(names) or not _known_sources().issuperset(names)


# In this order: each may rely on those before it.
_CHECKS: Iterable[Callable[[Part], None]] = (
    _every_user,
    _full_lists,
    _ranks_without_gap,
    _distinct_videos,
    _listable_videos,
    _unseen_videos,
    _within_caps,
    _of_arm,
    _finite,
    _scores_by_rank,
    _candidate_sources,
)
