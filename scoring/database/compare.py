"""How far the lists of two runs agree, over all users or a sample of them."""

from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

import numpy as np
import polars as pl
from sqlalchemy import Connection, func, select

from nightreel.core import columns
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.database.connection import reading
from scoring.database.kept_runs import require_lists, run_or_shown
from scoring.database.schema import require_current
from scoring.database.tables import recommendation

_USERS_AT_A_TIME = 4_096
_SAMPLES = 50  # ranges of users that a sample is drawn from
_IN_A_QUERY = 500
_PERSISTENCE = 0.9
_run, _user = recommendation.c[columns.RUN_ID], recommendation.c[columns.USER_ID]


class Agreement(TypedDict):
    """How far the lists of the users in two runs agree.

    Attributes:
        share_of_videos_in_both: mean share of the first run's videos that the second lists too.
        rank_biased_overlap: weights the top of the list more. Both are None if no user is in both runs.
        entered, left: video_id and lists, of the videos that entered or left the most lists.
    """

    equal_lists: int
    equal_first_videos: int
    share_of_videos_in_both: float | None
    rank_biased_overlap: float | None
    videos_of_both: int
    videos_entered: int
    videos_left: int
    entered: NotRequired[list[dict[str, Any]]]
    left: NotRequired[list[dict[str, Any]]]


class Comparison(Agreement):
    """Two runs: their numbers, how many users are in both, and in one alone unless a sample is compared."""

    run_id: int
    other_run_id: int
    users_of_both: int
    users_of_this_alone: NotRequired[int]
    users_of_the_other_alone: NotRequired[int]


def compare(
    settings: DatabaseNeeds,
    run_id: int,
    other_id: int | None,
    *,
    videos: int = 0,
    users_max: int | None = None,
) -> Comparison:
    """How far the lists of two runs agree.

    Args:
        other_id: by default the run that apps read.
        videos: how many of the videos that entered or left the most lists to name, as `entered` and `left`.
        users_max: the most users to compare, spread evenly over the ids; by default all.

    Raises:
        InputError: a run has no lists.
    """
    with reading(settings) as connection:
        require_current(connection)
        run = require_lists(connection, run_id)
        other = run_or_shown(connection, other_id, remedy="Name another run to compare with.")
        is_sample = users_max is not None and max(run.users or 0, other.users or 0) > users_max
        find = _some_users if is_sample and users_max is not None else _all_users
        first, second = (
            find(connection, run.run_id, users_max or 0),
            find(connection, other.run_id, users_max or 0),
        )
        if is_sample:
            # If the samples have few users in common, those of the first are looked up in the second.
            second = np.union1d(second, first[_have_list(connection, other.run_id, first)])
        both = np.intersect1d(first, second)
        found = _Agreement()
        at_a_time = _IN_A_QUERY if is_sample else _USERS_AT_A_TIME
        for start in range(0, len(both), at_a_time):
            users = both[start : start + at_a_time]
            runs = (run.run_id, other.run_id)
            found.add(*(_lists(connection, one, users, is_sample=is_sample) for one in runs))
    comparison: Comparison = {
        "run_id": run.run_id,
        "other_run_id": other.run_id,
        "users_of_both": len(both),
        "users_of_this_alone": len(first) - len(both),
        "users_of_the_other_alone": len(second) - len(both),
        **found.facts(len(both), videos),
    }
    if is_sample:
        # A user outside one sample may have a list of that run.
        del comparison["users_of_this_alone"], comparison["users_of_the_other_alone"]
    return comparison


class _Agreement:
    """The sums over users of how two lists agree, and the lists that each video is in."""

    def __init__(self) -> None:
        self._kept, self._rbo, self._equal, self._equal_firsts = 0.0, 0.0, 0, 0
        self._counts: list[pl.DataFrame] = []

    def add(self, these: pl.DataFrame, others: pl.DataFrame) -> None:
        of_users = _agreement(these, others)
        self._kept += float(of_users["kept"].sum())
        self._rbo += float(of_users["rbo"].sum())
        self._equal += int(of_users["is_equal"].sum())
        self._equal_firsts += int(of_users["is_first_equal"].sum())
        counts = [
            frame.select("video", pl.lit(n).alias("now"), pl.lit(1 - n).alias("before"))
            for n, frame in ((1, these), (0, others))
        ]
        summed = pl.concat([*self._counts, *counts]).group_by("video").agg(pl.col("now", "before").sum())
        self._counts = [summed]

    def facts(self, users: int, videos: int) -> Agreement:
        """The means over users, and the videos that entered and left."""
        counts = (
            self._counts[0]
            if self._counts
            else pl.DataFrame(schema=dict.fromkeys(("video", "now", "before"), pl.Int64))
        )
        entered, left = (
            counts.filter(pl.col(none) == 0, pl.col(some) > 0).sort(some, "video", descending=[True, False])
            for none, some in (("before", "now"), ("now", "before"))
        )
        means: Agreement = {
            "equal_lists": self._equal,
            "equal_first_videos": self._equal_firsts,
            "share_of_videos_in_both": self._kept / users if users else None,
            "rank_biased_overlap": self._rbo / users if users else None,
            "videos_of_both": counts.filter(pl.col("now") > 0, pl.col("before") > 0).height,
            "videos_entered": entered.height,
            "videos_left": left.height,
        }
        if videos:
            means["entered"] = [
                {"video_id": video, "lists": lists}
                for video, lists in entered.select("video", "now").head(videos).rows()
            ]
            means["left"] = [
                {"video_id": video, "lists": lists}
                for video, lists in left.select("video", "before").head(videos).rows()
            ]
        return means


def _all_users(connection: Connection, run_id: int, _most: int) -> np.ndarray:
    """The users with a list, ascending."""
    of_run = (_run == run_id) & (recommendation.c.rank == 1)
    return _ids(connection.execute(select(_user).where(of_run)).scalars())


def _ids(found: Iterable[int | str]) -> np.ndarray:
    """Ids as the log has them: int64 or text; ascending."""
    ids = sorted(found)
    return np.array(ids) if ids else np.zeros(0, dtype=np.int64)


def _some_users(connection: Connection, run_id: int, most: int) -> np.ndarray:
    """About `most` users with a list, from ranges spread evenly over all ids; ascending."""
    firsts = select(_user).where(_run == run_id, recommendation.c.rank == 1)
    ends = [connection.execute(firsts.order_by(order).limit(1)).scalar() for order in (_user, _user.desc())]
    if ends[0] is None or ends[1] is None:
        return _ids(())
    each = -(-most // _SAMPLES)
    if isinstance(ends[0], str):
        users = connection.execute(firsts.with_only_columns(func.count())).scalar_one()
        parts = (
            connection.execute(firsts.order_by(_user).offset(users * n // _SAMPLES).limit(each)).scalars()
            for n in range(_SAMPLES)
        )
        return _ids({user for part in parts for user in part})
    starts = [ends[0] + (ends[1] - ends[0]) * n // _SAMPLES for n in range(_SAMPLES)]
    drawn = {
        user
        for start in starts
        for user in connection.execute(firsts.where(_user >= start).order_by(_user).limit(each)).scalars()
    }
    return _ids(drawn)


def _have_list(connection: Connection, run_id: int, users: np.ndarray) -> np.ndarray:
    """Whether each of these users has a list in the run: bool [users]."""
    query = select(_user).where(_run == run_id, recommendation.c.rank == 1, _user.in_(users.tolist()))
    found: np.ndarray = np.isin(users, _ids(connection.execute(query).scalars()))
    return found


def _lists(connection: Connection, run_id: int, users: np.ndarray, *, is_sample: bool) -> pl.DataFrame:
    """user, rank and video of these users' lists; those between the users of a sample are not read."""
    # Databases order texts differently.
    one_by_one = is_sample or users.dtype != np.int64
    of_users = _user.in_(users.tolist()) if one_by_one else _user.between(int(users[0]), int(users[-1]))
    names = (_user.label("user"), recommendation.c.rank, recommendation.c[columns.VIDEO_ID].label("video"))
    rows = connection.execute(select(*names).where(_run == run_id, of_users)).all()
    lists = pl.DataFrame(rows, schema=["user", "rank", "video"], orient="row", infer_schema_length=None)
    return lists.filter(pl.col("user").is_in(users.tolist()))


def _agreement(these: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """One row a user: share of videos kept, rank-biased overlap, equal lists, equal first videos."""
    sizes = others.group_by("user").agg(size=pl.len())
    stays = (pl.col("rank") == pl.col("other_rank")).fill_null(value=False)
    joined = these.join(others.rename({"rank": "other_rank"}), on=["user", "video"], how="left")
    depths = these.group_by("user").agg(rows=pl.len()).join(sizes, on="user")
    joined = joined.join(depths.select("user", depth=pl.min_horizontal("rows", "size")), on="user")
    of_users = (
        _with_gain(joined)
        .group_by("user")
        .agg(
            kept=pl.col("other_rank").is_not_null().mean(),
            rbo=pl.col("gain").sum(),
            all_stay=stays.all(),
            is_first_equal=(stays & (pl.col("rank") == 1)).any(),
            rows=pl.len(),
        )
    )
    is_equal = pl.col("all_stay") & (pl.col("rows") == pl.col("size"))
    return of_users.join(sizes, on="user").select("kept", "rbo", "is_first_equal", is_equal=is_equal)


def _with_gain(joined: pl.DataFrame) -> pl.DataFrame:
    """With what each video adds to the rank-biased overlap of two lists, cut to the length of the shorter.

    The extrapolated form: with X(d) videos in both at depth d, and p = 0.9, X(k) / k * p^k +
    (1 - p) / p * sum over d from 1 to k of X(d) / d * p^d. A video that is in both from depth m on counts in
    each later one. Source: Webber, Moffat and Zobel, A Similarity Measure for Indefinite Rankings (2010).
    """
    depth = joined["depth"].to_numpy()
    both_from = np.maximum(joined["rank"].to_numpy(), joined["other_rank"].fill_null(0).to_numpy())
    counts = joined["other_rank"].is_not_null().to_numpy() & (both_from <= depth)
    d = np.arange(1, depth.max(initial=0) + 1)
    weight = (1 - _PERSISTENCE) / _PERSISTENCE * _PERSISTENCE**d / d
    until = np.concatenate([[0.0], np.cumsum(weight)])
    later = until[depth] - until[np.where(counts, both_from, 1) - 1]
    return joined.with_columns(pl.Series("gain", np.where(counts, later + _PERSISTENCE**depth / depth, 0.0)))
