"""Decides on past data which objective makes the better lists, by what users liked afterwards.

With a fully observed matrix, lists are for its validation users, from its videos, as of the holdout's start:
no tree has learnt from later plays, and `evaluate` needs the same fits of the sources.
Otherwise they are for the days of the early-stopping window, each as of its start, from the whole catalogue:
the rankers of the next day are trained again without these days, and no tree of the other rankers has learnt
from them. Data that reports use later, the matrix's other users and the holdout days, are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.logs import progress
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FitNeeds, RankerNeeds
from pipelines.labels import targets
from pipelines.local_days import end_of_day, start_of_day
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.model_rows.listable import known_videos
from pipelines.model_rows.tonight import drawn_users
from pipelines.rankers.contest_lists import Arena, next_day_lists, shown_lists
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.slices import log_days
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import are_validation_users

_USERS_MAX = 500
USERS_MIN = 20  # with fewer lists, chance would decide

_PAIR = [columns.USER_ID, columns.VIDEO_ID]


@dataclass(frozen=True)
class Contest:
    """The data that decided, the number of lists, and each objective's mean NDCG at 10 and 100."""

    chosen_on: str
    judged_on: str
    users: int
    shown: float
    next_day: float

    def facts(self) -> dict[str, object]:
        """As in the manifest."""
        return {
            "chosen_on": self.chosen_on,
            "judged_on": self.judged_on,
            "lists": self.users,
            "ndcg": {"shown": self.shown, "next_day": self.next_day},
        }

    def __str__(self) -> str:
        return (
            f"mean NDCG@10 and @100 of next_day {self.next_day:.4f}, of shown {self.shown:.4f}, on "
            f"{self.chosen_on} ({self.users} lists); {self.judged_on} judge"
        )


@dataclass(frozen=True)
class Judged:
    """An arena, and how good the next day's lists are there: float64 [users], as `Arena.quality`."""

    arena: Arena
    joined: JoinedFeatures
    next_day: np.ndarray


def judged_next_day(
    arenas: Sequence[Arena],
    ranker: NextDayRanker,
    data: TrainingData,
    store: FeatureStore,
    settings: RankerNeeds,
) -> list[Judged]:
    """Make the next day's lists in every arena, and judge them; the other ranker is not needed yet.

    Args:
        arenas: from `arena_of_matrix` or `arenas_of_days`.
        ranker: the one that competes, trained before all of them.
    """
    found = []
    with progress("objectives", total=len(arenas)) as advance:
        for arena in arenas:
            joined = arena.joined(data, store, settings)
            lists = next_day_lists(arena, joined, ranker, data.plays, settings)
            found.append(Judged(arena, joined, arena.quality(lists)))
            advance()
    return found


def contest(
    judged: Sequence[Judged], shown: HybridRanker, settings: RankerNeeds, *, days: tuple[str, str]
) -> Contest:
    """Compare both rankers' lists in every arena.

    Args:
        judged: the next day's lists, from `judged_next_day`.
        shown: the ranker of objective `shown`, which makes its lists here.
        days: in words, the days that decide here and the days that are reported later.
    """
    qualities = [
        one.arena.quality(shown_lists(one.arena, one.joined, shown, settings.ranker, settings.seed))
        for one in judged
    ]
    of_shown, of_next_day = (
        float(np.concatenate(side).mean()) for side in (qualities, [one.next_day for one in judged])
    )
    return Contest(*days, sum(len(one.arena.user_id) for one in judged), of_shown, of_next_day)


def arena_of_matrix(data: TrainingData, as_of: datetime, settings: RankerNeeds) -> Arena | None:
    """The matrix's validation users as of an instant; None if too few of them liked anything."""
    pairs = _validation_pairs(settings)
    liked = _of_some_users(_liked(pairs, data, settings.data), settings.seed)
    if liked[columns.USER_ID].n_unique() < USERS_MIN:
        return None
    known = known_videos(settings.paths, settings.data, as_of)
    listable = (
        pairs.select(pl.col(columns.VIDEO_ID).unique().sort())
        .join(known, on=columns.VIDEO_ID, how="left", maintain_order="left")
        .with_columns(
            pl.col(group.join_key for group in GROUPS).fill_null(-1), pl.col("uploaded_us").fill_null(0)
        )
    )
    return Arena.of(as_of, listable, liked, pairs.select(_PAIR), closed=False)


def _validation_pairs(settings: RankerNeeds) -> pl.DataFrame:
    """The fully observed pairs of the validation users, each once, by its first row.

    Other users' pairs are not read: to find the distinct pairs of all users takes a gigabyte for KuaiRec.
    """
    table = pl.scan_parquet(settings.paths.table("fully_observed"))
    user_id = table.select(pl.col(columns.USER_ID).unique()).collect().to_series()
    chosen = user_id.filter(
        pl.Series(are_validation_users(user_id.to_numpy(), settings.evaluation, settings.seed))
    )
    return (
        table.select(*_PAIR, columns.WATCH_RATIO, columns.VIDEO_DURATION)
        .filter(pl.col(columns.USER_ID).is_in(chosen.implode()))
        .collect(engine="streaming")
        .unique(_PAIR, keep="first", maintain_order=True)
    )


def arenas_of_days(data: TrainingData, settings: FitNeeds) -> list[tuple[str, Arena]]:
    """The days of the early-stopping window that have users who had played before, each with these users."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    stop = data.plays[data.slices.stop]
    found = []
    for day in log_days(stop[columns.EVENT_TIMESTAMP], settings.data.zone):
        as_of, until = start_of_day(day, settings.data.zone), end_of_day(day, settings.data.zone)
        before = data.plays.head(data.plays[columns.EVENT_TIMESTAMP].search_sorted(as_of, side="left"))
        of_day = stop.filter(stamp >= as_of, stamp < until)
        new = of_day.join(before.select(_PAIR), on=_PAIR, how="anti")
        known = before.select(pl.col(columns.USER_ID).unique())
        liked = _liked(new, data, settings.data).join(known, on=columns.USER_ID, how="semi")
        liked = _of_some_users(liked, settings.seed)
        if not liked.is_empty():
            listable = known_videos(settings.paths, settings.data, as_of)
            arena = Arena.of(as_of, listable, liked, before.select(_PAIR), closed=True)
            found.append((day.isoformat(), arena))
    return found


def _liked(plays: pl.DataFrame, data: TrainingData, settings: DataSettings) -> pl.DataFrame:
    ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    liked = targets(settings.targets.label, data.buckets, ratio, length, settings).liked
    return plays.filter(pl.Series(liked)).select(_PAIR).unique(_PAIR, maintain_order=True).sort(_PAIR)


def _of_some_users(liked: pl.DataFrame, seed: int) -> pl.DataFrame:
    user_id = liked[columns.USER_ID].unique().sort().to_numpy()
    drawn = drawn_users(user_id, _USERS_MAX, seed)
    return liked.filter(pl.col(columns.USER_ID).is_in(pl.Series(user_id[drawn]).implode()))
