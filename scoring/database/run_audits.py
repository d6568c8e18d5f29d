"""Reads back what a run has written, and checks it by itself and against the last run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, update

from nightreel.core import columns
from nightreel.core.ids import ListIds
from nightreel.core.settings.needs import PublishNeeds
from scoring.database.audits import Arms, audit_lists
from scoring.database.kept_runs import last_night
from scoring.database.last_run_audits import few_changed_lists, in_line_with_last
from scoring.database.new_run import NewRun
from scoring.database.rule_audits import Shortfalls
from scoring.database.shared_audits import audit_shared, shared_in_line_with_last
from scoring.database.tables import (
    recommendation_run,
    shared_list_run,
)
from scoring.lists.candidates import Candidates
from scoring.lists.shared.rows import SharedCounts, SharedList


def audit_run(
    connection: Connection,
    run_id: int,
    run: NewRun,
    candidates: Candidates,
    settings: PublishNeeds,
    *,
    arms: Arms,
) -> tuple[int, tuple[str, ...]]:
    """Rows of the run, and what its lists could not have though it was asked for."""
    ids = ListIds.of(settings.paths)
    found, k = Shortfalls(), settings.lists.top_k
    rows = audit_lists(connection, run_id, candidates, k, ids, arms=arms, shortfalls=found)
    remarks = [*candidates.rules.remarks, *found.remarks(len(candidates.user_id), k)]
    if remarks:
        said = (
            update(recommendation_run)
            .where(recommendation_run.c[columns.RUN_ID] == run_id)
            .values(remarks="\n".join(remarks))
        )
        connection.execute(said)
    last = _last_in_time(connection, run)
    if last is not None:
        share = settings.database.audits.min_share_of_last_run
        in_line_with_last("users", len(candidates.user_id), last.users, share)
        if last.k == settings.lists.top_k:
            in_line_with_last("rows", rows, last.rows, share)
        if settings.database.audits.max_changed_lists < 1:
            runs = run_id, last.run_id
            few_changed_lists(connection, runs, candidates, settings.database.audits.max_changed_lists, ids)
    return rows, tuple(remarks)


def audit_shared_lists(
    connection: Connection,
    run_id: int,
    run: NewRun,
    candidates: Candidates,
    settings: PublishNeeds,
    *,
    shared: Sequence[SharedList],
) -> tuple[SharedCounts, ...]:
    """The counts of lists that are not a user's, once all of them have passed; stored with the run."""
    ids, segments = ListIds.of(settings.paths), settings.lists.shared.segments
    counts = tuple(
        audit_shared(connection, run_id, one, candidates.video_id, ids=ids, segments=segments)
        for one in shared
    )
    last = _last_in_time(connection, run)
    if last is not None:
        share = settings.database.audits.min_share_of_last_run
        shared_in_line_with_last(connection, last.run_id, counts, share)
    for one in counts:
        connection.execute(insert(shared_list_run).values(run_id=run_id, **vars(one)))
    return counts


def _last_in_time(connection: Connection, run: NewRun) -> Row[Any] | None:
    """The run that apps read, if this one is to be shown after it; None where there is nothing to compare.

    A replay may well know fewer users and videos than the run that is shown; but no run is of the future, and
    one that says so is no replay's excuse.
    """
    last = last_night(connection)
    is_in_time = last is not None and (last.as_of <= run.as_of or last.as_of > datetime.now(UTC))
    return last if run.show and is_in_time else None
