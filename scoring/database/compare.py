"""How far the lists of two runs agree, over all users; `nightreel browse` shows it user by user."""

from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.settings import Settings
from scoring.database.connection import reading
from scoring.database.kept_runs import require_lists, run_or_shown
from scoring.database.loading import read_lists
from scoring.database.schema import require_current
from scoring.database.tables import recommendation

_USERS_AT_A_TIME = 4_096


def compare(settings: Settings, run_id: int, other_id: int | None) -> dict[str, Any]:
    """Users of both runs and of one alone, and over those of both how far their lists agree.

    other_id: by default the run that apps read. The share of videos is that of the first run's lists which
    the second run's have too, mean over users; None where no user is in both. Raises InputError where a run
    has no lists.
    """
    with reading(settings) as connection:
        require_current(connection)
        run = require_lists(connection, run_id)
        other = run_or_shown(connection, other_id, remedy="Name another run to compare with.")
        first, second = _users(connection, run.run_id), _users(connection, other.run_id)
        both = np.intersect1d(first, second)
        kept, equal, equal_firsts = 0.0, 0, 0
        for start in range(0, len(both), _USERS_AT_A_TIME):
            users = both[start : start + _USERS_AT_A_TIME]
            lists = _agreement(*(_lists(connection, one.run_id, users) for one in (run, other)))
            kept += float(lists["kept"].sum())
            equal += int(lists["is_equal"].sum())
            equal_firsts += int(lists["is_first_equal"].sum())
    return {
        columns.RUN_ID: run.run_id,
        "other_run_id": other.run_id,
        "users_of_both": len(both),
        "users_of_this_alone": len(first) - len(both),
        "users_of_the_other_alone": len(second) - len(both),
        "equal_lists": equal,
        "equal_first_videos": equal_firsts,
        "share_of_videos_in_both": kept / len(both) if len(both) else None,
    }


def _users(connection: Connection, run_id: int) -> np.ndarray:
    """The users with a list, int64, ascending."""
    of_run = (recommendation.c[columns.RUN_ID] == run_id) & (recommendation.c.rank == 1)
    user = recommendation.c[columns.USER_ID]
    found = connection.execute(select(user).where(of_run).order_by(user)).scalars().all()
    return np.array(found, dtype=np.int64)


def _lists(connection: Connection, run_id: int, users: np.ndarray) -> pl.DataFrame:
    lists = read_lists(connection, run_id, int(users[0]), int(users[-1]))
    rows = np.isin(lists.user_id, users)
    values = {"user": lists.user_id, "rank": lists.rank, "video": lists.video_id}
    return pl.DataFrame({name: column[rows] for name, column in values.items()})


def _agreement(these: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """One row a user: the share of videos kept, and whether the lists, and their first videos, are equal."""
    sizes = others.group_by("user").agg(size=pl.len())
    stays = (pl.col("rank") == pl.col("other_rank")).fill_null(value=False)
    joined = these.join(others.rename({"rank": "other_rank"}), on=["user", "video"], how="left")
    of_users = joined.group_by("user").agg(
        kept=pl.col("other_rank").is_not_null().mean(),
        all_stay=stays.all(),
        is_first_equal=(stays & (pl.col("rank") == 1)).any(),
        rows=pl.len(),
    )
    is_equal = pl.col("all_stay") & (pl.col("rows") == pl.col("size"))
    return of_users.join(sizes, on="user").select("kept", "is_first_equal", is_equal=is_equal)
