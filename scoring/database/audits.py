"""Checks of a run's lists, read back from the database, before anyone is shown them.

Each has a name and fails with what, how many and the first case. None relies on figures of scoring itself.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

import numpy as np
from sqlalchemy import Connection

from nightreel.core.errors import AuditError
from nightreel.core.ids import INTEGERS, ListIds
from nightreel.core.own_models import SOURCES, own_names
from nightreel.core.settings import CANDIDATE_SOURCES, RETRIEVAL_SOURCES
from pipelines.pair_bits import bits_at
from scoring.database.audit_part import REMEDY, Audited, Part, fail, has_room, named, parts_of
from scoring.database.loading import run_lists
from scoring.database.rule_audits import Shortfalls, rules_kept
from scoring.lists.candidates import Candidates
from scoring.lists.rows import HYBRID, Lists, distinct

# Names of an experiment's arms, with their users; none without one.
Arms = Sequence[tuple[str, Candidates]]


def audit_lists(
    connection: Connection,
    run_id: int,
    candidates: Candidates,
    k: int,
    ids: ListIds = INTEGERS,
    *,
    arms: Arms = (),
    shortfalls: Shortfalls | None = None,
) -> int:
    """Read a run back, once, and check every list against the candidates.

    Args:
        candidates: of the run.
        k: list length.
        arms: of an experiment, each with the candidates of its users.
        shortfalls: what lists could not have is added to it.

    Returns:
        Number of rows of the run.

    Raises:
        AuditError: a user is missing or unknown; a list is shorter than min(k, available) although caps leave
            room; ranks are not 1..n; a video occurs twice, is not eligible or was seen; a cap is exceeded; a
            score is not finite, or scores rise with rank; a candidate source is unknown or impossible for a
            fallback; an owner's rule was broken without need, or a row names an unknown rule.
    """
    rows = 0
    shortfalls = Shortfalls() if shortfalls is None else shortfalls
    audited = [Audited(*arm) for arm in arms or (("", candidates),)]
    with closing(run_lists(connection, run_id, ids)) as blocks:
        for lists in blocks:
            for part in parts_of(lists, audited, k, ids):
                _check(part, k, shortfalls)
            rows += len(lists)
    for one in audited:
        for part in one.without_rows(k, ids):
            _check(part, k, shortfalls)
    return rows


def _check(part: Part, k: int, shortfalls: Shortfalls) -> None:
    for check in _CHECKS:
        check(part)
    shortfalls.rules.update(rules_kept(part, k))
    shortfalls.of_few += int((part.most < k).sum())
    shortfalls.by_caps += int((np.bincount(part.user, minlength=len(part.expected)) < part.most).sum())


def _known_sources() -> set[str]:
    return {*CANDIDATE_SOURCES, *RETRIEVAL_SOURCES, *own_names(SOURCES)}


def finite_scores(lists: Lists, ids: ListIds = INTEGERS) -> None:
    """Raise AuditError unless every `score` is a finite number and no stage's score is infinite."""
    stages = (lists.classifier_score, lists.regressor_score, lists.als_score)
    bad = ~np.isfinite(lists.score) | np.any([np.isinf(values) for values in stages], axis=0)
    fail("finite scores", bad, lists, ids, "rows have a score that is not a finite number")


def _every_user(part: Part) -> None:
    missing = (np.bincount(part.user, minlength=len(part.expected)) == 0) & (part.most > 0)
    if missing.any():
        raise AuditError(
            f"audit `every eligible user`: {missing.sum()} users have no list; the first is user "
            f"{named(part.ids.user, part.expected[missing][0])}.",
            REMEDY,
        )


def _full_lists(part: Part) -> None:
    rows = np.bincount(part.user, minlength=len(part.expected))
    wrong = rows != part.most
    if part.candidates.caps:
        for user in np.flatnonzero(rows < part.most).tolist():
            wrong[user] = has_room(part, user)
    if wrong.any():
        first = np.flatnonzero(wrong)[0]
        raise AuditError(
            f"audit `full lists`: {wrong.sum()} users do not have as many rows as there are videos for them; "
            f"the first is user {named(part.ids.user, part.expected[first])}, with {rows[first]} rows "
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
        positions = np.arange(len(order))
        in_group = positions - np.maximum.accumulate(np.where(begins, positions, 0))
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
    begins = np.searchsorted(part.user, np.arange(len(part.expected)))
    expected = np.arange(len(part.lists)) - begins[part.user] + 1
    wrong = part.lists.rank != expected
    fail("ranks 1..n", wrong, part.lists, part.ids, "rows have a rank that leaves a gap before it")


def _distinct_videos(part: Part) -> None:
    pairs = np.sort(part.user * len(part.candidates.video_id) + part.video)
    is_known = part.candidates.video_id[part.video] == part.lists.video_id
    if is_known.all() and (pairs[1:] != pairs[:-1]).all():
        return
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
    # A rule decides the rank of the rows that it moves.
    own = np.flatnonzero(part.lists.rule == "")
    user, score = part.user[own], part.lists.score[own]
    rises = np.zeros(len(part.lists), dtype=bool)
    rises[own[1:]] = (user[1:] == user[:-1]) & (score[1:] > score[:-1])
    fail(
        "scores ordered by rank", rises, part.lists, part.ids, "rows have a higher score than the rank before"
    )


def _candidate_sources(part: Part) -> None:
    names, name = distinct(part.lists.candidate_sources)
    wrong = [_are_wrong(one.split(",")) for one in names]
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
