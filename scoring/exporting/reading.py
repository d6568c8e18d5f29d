"""A run's rows, some users at a time, and what changed since another run."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Select, select

from nightreel.core import columns
from scoring.database.tables import recommendation

# What became of a user's list since another run: a user who is gone has no rows but one that says so.
CHANGE = "change"
NEW, CHANGED, GONE = "new", "changed", "gone"
_USERS_AT_A_TIME = 2_000

_run = recommendation.c[columns.RUN_ID]
_user = recommendation.c[columns.USER_ID]
NAMES = tuple(column.name for column in recommendation.columns)
_at_user, _at_video = NAMES.index(columns.USER_ID), NAMES.index(columns.VIDEO_ID)

Rows = list[tuple[Any, ...]]


def lists_by_user(connection: Connection, run_ids: tuple[int, ...]) -> Iterator[tuple[Any, list[Rows]]]:
    """Each user with a list in any of the runs, ascending, and their rows in each run, by rank."""
    last = None
    while True:
        users: Select[Any] = select(_user).distinct().where(_run.in_(run_ids))
        if last is not None:
            users = users.where(_user > last)
        found = connection.execute(users.order_by(_user).limit(_USERS_AT_A_TIME)).scalars().all()
        if not found:
            return
        last = found[-1]
        lists = [_lists(connection, run_id, found[0], last) for run_id in run_ids]
        for user in found:
            yield user, [of_run.get(user, []) for of_run in lists]


def _lists(connection: Connection, run_id: int, first: Any, last: Any) -> dict[Any, Rows]:
    query = select(recommendation).where(_run == run_id, _user.between(first, last))
    found: dict[Any, Rows] = {}
    for row in connection.execute(query.order_by(_user, recommendation.c[columns.RANK])):
        found.setdefault(row[_at_user], []).append(tuple(row))
    return found


def changes(connection: Connection, run_id: int, since: int) -> Iterator[Rows]:
    """The rows of each user whose videos or order differ from those in run `since`, with column `change`."""
    for user, (now, before) in lists_by_user(connection, (run_id, since)):
        if not now:
            gone = dict.fromkeys(NAMES) | {columns.RUN_ID: run_id, columns.USER_ID: user}
            yield [(*gone.values(), GONE)]
        elif [row[_at_video] for row in now] != [row[_at_video] for row in before]:
            yield [(*row, CHANGED if before else NEW) for row in now]
