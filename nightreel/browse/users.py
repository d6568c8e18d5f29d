"""Users with a list: a page of them by id, and one at random, at the cost of the rows that are shown."""

import random
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, Select, select

from nightreel.browse.table import SOURCE, USER, VIDEO, Column, Table, table
from nightreel.core import columns
from nightreel.core.ids import ID, Ids
from scoring.database.tables import recommendation

PAGE_USERS = 100
_user = recommendation.c[columns.USER_ID]
_FIRST_VIDEO = Column(columns.VIDEO_ID, "First video", VIDEO.meaning, "video")


@dataclass(frozen=True)
class UsersPage:
    """The page's contents; `after` is the last user of this page, if more follow."""

    users: Table
    after: int | str | None
    is_first: bool


def users_page(connection: Connection, run_id: int, after: int | str | None) -> UsersPage:
    """The users with a list in a run whose ids follow `after`, by id, with the first video of each."""
    names = (columns.USER_ID, columns.VIDEO_ID, columns.SCORE, columns.SOURCE)
    query = _firsts(select(*(recommendation.c[name] for name in names)), run_id)
    if after is not None:
        query = query.where(_user > after)
    rows = [dict(row) for row in connection.execute(query.order_by(_user).limit(PAGE_USERS + 1)).mappings()]
    shown = rows[:PAGE_USERS]
    last = shown[-1][columns.USER_ID] if len(rows) > PAGE_USERS else None
    title = f"Users with a list in run {run_id}"
    users = table("users", title, (USER, _FIRST_VIDEO, SOURCE), shown, run=run_id)
    return UsersPage(users, last, after is None)


def users_from(connection: Connection, run_id: int, first: int | str | None, most: int) -> list[int | str]:
    """A few users with a list, from this id on; the last ones if none follows."""
    query = _firsts(select(_user), run_id)
    following = query if first is None else query.where(_user >= first)
    found = list(connection.execute(following.order_by(_user).limit(most)).scalars())
    return found or sorted(connection.execute(query.order_by(_user.desc()).limit(most)).scalars())


def random_user(connection: Connection, ids: Ids, run_id: int) -> int | str | None:
    """A random user with a list, drawn by id: a user in a sparse range of ids is likelier than others."""
    query = _firsts(select(_user), run_id)
    ends = [connection.execute(query.order_by(order).limit(1)).scalar() for order in (_user, _user.desc())]
    if ends[0] is None or ends[1] is None:
        return None
    at = random.randint(ends[0], ends[1]) if isinstance(ends[0], int) else _any_id(ids) or ends[0]
    found: int | str | None = connection.execute(
        query.where(_user >= at).order_by(_user).limit(1)
    ).scalar_one_or_none()
    # An id may be of a user without a list, after all that have one.
    return ends[0] if found is None else found


def _any_id(ids: Ids) -> str | None:
    """An id of a home whose ids are text; None where there is none at the index that was drawn."""
    if not ids.is_text:
        return None
    every = pl.scan_parquet(ids.file).select(ID)
    count: int = every.select(pl.len()).collect().item()
    drawn = every.slice(random.randrange(max(1, count)), 1).collect()
    return drawn[ID].item() if drawn.height else None


def _firsts(query: Select[Any], run_id: int) -> Select[Any]:
    return query.where(recommendation.c[columns.RUN_ID] == run_id, recommendation.c.rank == 1)
