"""Protocol `next_day`: lists as published at the start of past days, judged by what was played that day.

Unlike every other protocol it ranks the whole catalogue: a video that the user was never shown counts as a
miss, and a relevant video that a list leaves out counts as not found. Relevant are that day's plays of videos
that the user had not played before: those liked, by each label, and all of them (label `any`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Paths
from nightreel.core.settings.needs import FitNeeds, RankerNeeds
from pipelines.backtest_files import DEPTH, HYBRID, Backtest, BacktestDay, contents_file, lists_file
from pipelines.labels import LengthBuckets, is_liked, labels_of
from pipelines.local_days import INSTANT
from pipelines.metrics import exposure_weights
from pipelines.user_sample import UserSample

NEXT_DAY = "next_day"
ANY_PLAY = "any"
CUTOFFS = (10, 20, 50, 100, DEPTH)
_PAIR = [columns.USER_ID, columns.VIDEO_ID]
_WEIGHT = "weight"
_ON_DAY = "on_day"


@dataclass(frozen=True)
class JudgedDay:
    """A day and its outcomes.

    Attributes:
        relevant: user_id, video_id, a bool column for each label, and weight (inverse exposure); each pair
            once.
        players: the number of users who played anything that day.
    """

    day: BacktestDay
    relevant: pl.DataFrame
    players: int

    @property
    def slice(self) -> str:
        """The day's name among slices."""
        return f"day: {self.day.day.isoformat()}"

    def of_sampled(self, seed: int) -> "JudgedDay":
        """The same for the users with lists of every system."""
        day = replace(self.day, users=self.day.sampled_users)
        return replace(self, day=day, relevant=self.relevant.filter(_is_sampled(day, self.relevant, seed)))

    def of_label(self, label: str) -> pl.DataFrame:
        """The relevant pairs by a label: user_id, video_id, weight."""
        rows = self.relevant if label == ANY_PLAY else self.relevant.filter(pl.col(label))
        return rows.select(*_PAIR, _WEIGHT)


@dataclass(frozen=True)
class NextDay:
    """The days that are judged, and the backtest that made their lists.

    Attributes:
        sampled: whether only users with lists of every system count.
    """

    backtest: Backtest
    days: tuple[JudgedDay, ...]
    sampled: bool = False

    @property
    def systems(self) -> tuple[str, ...]:
        """Those that are measured over these users, the published lists first."""
        backtest = self.backtest
        if self.sampled:
            return (HYBRID, *backtest.sampled)
        return tuple(system for system in backtest.systems if system not in backtest.sampled)

    def of_sampled(self, settings: RankerNeeds) -> "NextDay | None":
        """The same over the users with lists of every system; None where these are all."""
        if not self.backtest.sampled:
            return None
        days = tuple(judged.of_sampled(settings.seed) for judged in self.days)
        return replace(self, days=days, sampled=True)

    @property
    def cutoffs(self) -> tuple[int, ...]:
        """The ks that do not exceed any day's catalogue."""
        smallest = min(judged.day.videos for judged in self.days)
        return tuple(k for k in CUTOFFS if k <= smallest) or (smallest,)

    def lists(self, settings: RankerNeeds, judged: JudgedDay, system: str) -> pl.DataFrame:
        """A system's lists of a day, of the evaluated users: user_id, rank, video_id."""
        lists = pl.read_parquet(lists_file(settings.paths, judged.day.day, system))
        if self.sampled:
            lists = lists.filter(_is_sampled(judged.day, lists, settings.seed))
        return lists


def next_day(settings: FitNeeds, buckets: LengthBuckets, model: str) -> NextDay | None:
    """The judged days; None if the backtest has no lists of this model."""
    backtest = Backtest.load(settings.paths)
    if backtest is None or backtest.model != model or not backtest.days:
        return None
    log = UserSample.of(settings).scan(settings.paths)
    plays = _plays(log, backtest)
    firsts = _first_plays(log, plays)
    days = tuple(
        _judged(day, plays.filter(pl.col(_ON_DAY) == number), firsts, buckets, settings.data)
        for number, day in enumerate(backtest.days)
    )
    return NextDay(backtest, days)


def inputs(paths: Paths) -> list[Any]:
    """The files that the figures depend on, beside those of other protocols."""
    return [contents_file(paths), *sorted(paths.backtest.glob("*/*.parquet"))]


def day_facts(found: NextDay, settings: DataSettings) -> list[Mapping[str, Any]]:
    """The outcomes of each day, including the number of users without a liked play."""
    rows: list[Mapping[str, Any]] = []
    for judged in found.days:
        row: dict[str, Any] = {
            "day": judged.day.day.isoformat(),
            "lists": judged.day.users,
            "videos": judged.day.videos,
            "users who played": judged.players,
            "with a new video": judged.relevant[columns.USER_ID].n_unique(),
            "new pairs": judged.relevant.height,
        }
        for label in labels_of(settings):
            liked = judged.of_label(label)
            row[f"liked ({label})"] = liked.height
            row[f"users without ({label})"] = judged.players - liked[columns.USER_ID].n_unique()
        rows.append(row)
    return rows


def _plays(log: pl.LazyFrame, backtest: Backtest) -> pl.DataFrame:
    """The plays of the judged days, of the evaluated users, with the day of each."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    on_day = pl.lit(None, dtype=pl.Int32)
    for number, day in enumerate(backtest.days):
        is_in = stamp.is_between(_instant(day.as_of), _instant(day.until), closed="left")
        on_day = pl.when(is_in).then(pl.lit(number, dtype=pl.Int32)).otherwise(on_day)
    first = min(day.as_of for day in backtest.days)
    plays = log.filter(stamp >= _instant(first)).with_columns(on_day.alias(_ON_DAY))
    return plays.drop_nulls(_ON_DAY).collect(engine="streaming")


def _first_plays(log: pl.LazyFrame, plays: pl.DataFrame) -> pl.DataFrame:
    """When each pair of these plays was first played in the whole log: user_id, video_id, first."""
    own = plays.lazy().select(_PAIR).unique()
    return (
        log.select(*_PAIR, columns.EVENT_TIMESTAMP)
        .join(own, on=_PAIR, how="semi")
        .group_by(_PAIR)
        .agg(pl.col(columns.EVENT_TIMESTAMP).min().alias("first"))
        .collect(engine="streaming")
    )


def _judged(
    day: BacktestDay,
    plays: pl.DataFrame,
    firsts: pl.DataFrame,
    buckets: LengthBuckets,
    settings: DataSettings,
) -> JudgedDay:
    ratio, length = (plays[name].to_numpy() for name in (columns.WATCH_RATIO, columns.VIDEO_DURATION))
    liked = {label: is_liked(label, buckets, ratio, length, settings) for label in labels_of(settings)}
    pairs = (
        plays.select(_PAIR)
        .with_columns(pl.Series(label, values) for label, values in liked.items())
        .group_by(_PAIR)
        .agg(pl.col(label).any() for label in liked)
    )
    exposure = pairs.group_by(columns.VIDEO_ID).agg(pl.len().alias("users"))
    weights = exposure.select(
        columns.VIDEO_ID,
        pl.Series(_WEIGHT, exposure_weights(exposure["users"].to_numpy().astype(np.float64))),
    )
    relevant = (
        pairs.join(firsts.filter(pl.col("first") >= _instant(day.as_of)), on=_PAIR, how="semi")
        .join(weights, on=columns.VIDEO_ID, how="left")
        .sort(_PAIR)
    )
    return JudgedDay(day, relevant, plays[columns.USER_ID].n_unique())


def _is_sampled(day: BacktestDay, rows: pl.DataFrame, seed: int) -> pl.Series:
    return pl.Series(day.is_sampled(rows[columns.USER_ID].to_numpy(), seed))


def _instant(instant: object) -> pl.Expr:
    return pl.lit(instant, dtype=INSTANT)
