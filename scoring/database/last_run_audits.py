"""Checks of a run against the one published before: users, rows, and how many lists changed."""

from collections.abc import Iterator

import numpy as np
from sqlalchemy import Connection

from nightreel.core.ascending import indices_in
from nightreel.core.errors import AuditError
from nightreel.core.ids import INTEGERS, ListIds
from scoring.database.audit_part import REMEDY
from scoring.database.loading import read_lists
from scoring.lists.candidates import Candidates

_USERS_AT_A_TIME = 512
_INT64 = np.iinfo(np.int64)


def in_line_with_last(what: str, now: int, before: int, min_share: float) -> None:
    """Raise AuditError if `now` is less than `min_share` of `before`, the last published run's count.

    Args:
        what: the counted unit, users or rows, for the message.
    """
    if now < min_share * before:
        raise AuditError(
            f"audit `{what} in line with the last run`: {now} {what}, the last run had {before}; at least "
            f"{min_share:.0%} of that are required (setting [database.audits] min_share_of_last_run).",
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
            f"most {max_share:.1%} may (setting [database.audits] max_changed_lists).",
            REMEDY,
        )


def _share_of_changed_lists(
    connection: Connection, runs: tuple[int, int], candidates: Candidates, ids: ListIds
) -> float:
    """Share of the users of both runs whose new list has less than half of the videos of their last one."""
    both = changed = 0
    for first, last in _ranges(candidates.user_id):
        new, old = (read_lists(connection, run, first, last, ids) for run in runs)
        of_both = np.intersect1d(new.user_id, old.user_id)
        videos = np.union1d(new.video_id, old.video_id)
        new_pairs, old_pairs = (
            indices_in(of_both, lists.user_id[rows])[0] * len(videos)
            + indices_in(videos, lists.video_id[rows])[0]
            for lists in (new, old)
            for rows in [np.isin(lists.user_id, of_both)]
        )
        user = old_pairs // max(len(videos), 1)
        kept = np.bincount(user, np.isin(old_pairs, new_pairs), minlength=len(of_both))
        size = np.bincount(user, minlength=len(of_both))
        both += len(of_both)
        changed += int((2 * kept < size).sum())
    return changed / both if both else 0.0


def _ranges(user_id: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of ids, both ends included, that together cover every possible id."""
    for start in range(0, len(user_id), _USERS_AT_A_TIME):
        stop = start + _USERS_AT_A_TIME
        first = int(user_id[start]) if start else int(_INT64.min)
        last = int(user_id[stop]) - 1 if stop < len(user_id) else int(_INT64.max)
        yield first, last
