"""Fits `repeat_discount` on the lists of past days: which value would have listed more liked videos.

The log's plays did not follow these lists, so a list would have shown a video in vain if it listed it and the
user did not play that day. Nothing is discounted unless a value has gained by more than chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import t as student

from nightreel.core import columns
from nightreel.core.settings.needs import RankerNeeds
from pipelines.backtest_files import HYBRID, sampled_share
from pipelines.evaluate.next_day import ANY_PLAY, NextDay
from pipelines.hashing import uniform_hash
from pipelines.repeat_discount import REPEAT_NIGHTS, REPEAT_RANKS, FittedDiscount, save_fit

VALUES = (0.1, 0.2, 0.35, 0.5)
# For all values together, which share it equally.
_ALPHA = 0.05
_USERS_MAX = 20_000
_PAIR = [columns.USER_ID, columns.VIDEO_ID]
_NIGHTS = "nights"


@dataclass(frozen=True)
class Gain:
    """What a discount gains over none: liked plays among the first rows, per user and night.

    Attributes:
        low, high: the interval over users, at a level at which all values' intervals hold together.
    """

    discount: float
    gain: float
    low: float
    high: float


def fit_repeat_discount(found: NextDay, settings: RankerNeeds) -> FittedDiscount:
    """Choose the discount, and store it for the lists to come; returns what was found.

    The result is 0 where no value has proved to gain, or there are too few nights to see repeats.
    """
    gains = gains_of(found, settings)
    best = max(gains, key=lambda one: one.gain, default=None)
    chosen = best.discount if best is not None and best.low > 0 else 0.0
    fit = FittedDiscount(
        model=found.backtest.model,
        discount=chosen,
        nights_judged=max(0, len(found.days) - REPEAT_NIGHTS),
        gains=[vars(one) for one in gains],
    )
    save_fit(settings, fit)
    return fit


def gains_of(found: NextDay, settings: RankerNeeds) -> list[Gain]:
    """What each of VALUES gains on the nights on which something may have been repeated often enough."""
    if len(found.days) <= REPEAT_NIGHTS:
        return []
    without = _hits(found, settings, 0.0)
    return [_gain(value, _hits(found, settings, value), without) for value in VALUES]


def _gain(discount: float, hits: pl.DataFrame, without: pl.DataFrame) -> Gain:
    joined = hits.join(without, on=columns.USER_ID, suffix="_without")
    differences = (joined["hits"] - joined["hits_without"]).to_numpy().astype(np.float64)
    mean, users = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / np.sqrt(users) if users > 1 else np.inf
    half = float(student.isf(_ALPHA / len(VALUES) / 2, max(users - 1, 1))) * error
    return Gain(discount, mean, mean - half, mean + half)


def _hits(found: NextDay, settings: RankerNeeds, discount: float) -> pl.DataFrame:
    """user_id and `hits`: liked plays among its first rows, a night, had lists been discounted like that.

    Night by night, as each list depends on what those before it have shown.
    """
    state = pl.DataFrame(schema={**dict.fromkeys(_PAIR, pl.Int64), _NIGHTS: pl.Int64})
    hits: list[pl.DataFrame] = []
    for n, judged in enumerate(found.days):
        lists = _of_some(found.lists(settings, judged, HYBRID), settings.seed)
        beyond = (pl.col(_NIGHTS).fill_null(0) - REPEAT_NIGHTS + 1).clip(lower_bound=0)
        position = (pl.col(columns.RANK) * (1 - discount) ** -beyond.cast(pl.Float64)).alias("position")
        ordered = lists.join(state, on=_PAIR, how="left").with_columns(position)
        ordered = ordered.sort(columns.USER_ID, "position", columns.RANK)
        first = ordered.group_by(columns.USER_ID, maintain_order=True).head(REPEAT_RANKS).select(_PAIR)
        if n >= REPEAT_NIGHTS:
            liked = judged.of_label(settings.data.targets.label).select(_PAIR)
            of_night = first.join(liked.with_columns(hit=1), on=_PAIR, how="left")
            hits.append(of_night.group_by(columns.USER_ID).agg(pl.col("hit").sum()))
        listed = pl.concat([state, first.with_columns(pl.lit(1, dtype=pl.Int64).alias(_NIGHTS))])
        played = judged.of_label(ANY_PLAY).select(_PAIR)
        state = listed.group_by(_PAIR).agg(pl.col(_NIGHTS).sum()).join(played, on=_PAIR, how="anti")
    return pl.concat(hits).group_by(columns.USER_ID).agg(pl.col("hit").mean().alias("hits"))


def _of_some(lists: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The lists of a sample of users, the same ones each night, which is enough for an interval."""
    users = lists[columns.USER_ID].unique().to_numpy()
    share = sampled_share(users, _USERS_MAX, seed)
    if share >= 1:
        return lists
    kept: Sequence[int] = users[uniform_hash(users.astype(np.uint64), seed) < share].tolist()
    return lists.filter(pl.col(columns.USER_ID).is_in(kept))
