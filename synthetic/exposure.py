"""Exposure: which videos each user is shown, independently of liking for the most part.

How often a video is shown says almost nothing about its quality. Each user is shown distinct videos, drawn by
the video's reach with a weak preference for what the user likes, and comes back to some of them later.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic import calendar, exact, loops
from synthetic.latent import Truth
from synthetic.sizes import KUAIREC_INTERACTIONS, Sizes
from synthetic.videos import Videos

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DUPLICATE_SHARE = 965_819 / KUAIREC_INTERACTIONS
REWATCH_SHARE = 0.083

# Plays of a user, by the user's quantile (KuaiRec: 100 / 883 / 1847 / 2461 / 16015, mean 1746).
_ACTIVITY_QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
_ACTIVITY_PLAYS: F64 = np.array([100.0, 883.0, 1847.0, 2461.0, 3300.0, 4200.0, 6500.0, 16015.0])

_TYPICAL_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)

_DAY_SIGMA = 0.80
_AWAY_SHARE = 0.05
_AGE_POWER = 0.3
_TASTE_LEAN = 4.0


def plays_a_user(sizes: Sizes, activity: F64) -> I64:
    """Rows of big_matrix for each user: KuaiRec's heavy-tailed shape, exactly `interactions` in all.

    Args:
        activity: each user's quantile by number of plays, in 0..1.
    """
    shape = exact.interpolate(activity, _ACTIVITY_QUANTILES, _ACTIVITY_PLAYS)
    target = shape * ((sizes.interactions - sizes.users) / exact.total(shape))
    rows = np.floor(target).astype(np.int64)
    missing = sizes.interactions - sizes.users - int(rows.sum())
    rows[np.argsort(rows - target, kind="stable")[:missing]] += 1
    result: I64 = rows + 1
    return result


@dataclass(frozen=True)
class Supply:
    """The videos that can be shown on each day."""

    videos: Videos
    day_weights: F32  # [videos, days], 0 before a video appears
    reach: F32  # [videos], natural logarithm of how widely a video is shown
    again_shares: F32  # [days]
    is_small_video: Mask


def make_supply(sizes: Sizes, videos: Videos, is_small_video: Mask) -> Supply:
    """Spread each video's reach over the collection windows, thinning out as it ages."""
    age = np.arange(sizes.days)[None, :] - videos.appear_day[:, None]
    fresh = np.where(age >= 0, exact.power(1.0 + np.maximum(age, 0), -_AGE_POWER), 0.0)
    shares = calendar.first_play_shares(sizes.day_shares, REWATCH_SHARE)
    typical = exact.interpolate(np.array(_TYPICAL_QUANTILES), _ACTIVITY_QUANTILES, _ACTIVITY_PLAYS)
    mean = sizes.interactions / sizes.users * (1 - DUPLICATE_SHARE) * (1 - REWATCH_SHARE)
    plays = typical * (mean / exact.mean(typical))
    weights = calendar.balanced(fresh, exact.exp(videos.log_exposure), shares, plays)
    return Supply(
        videos=videos,
        day_weights=weights,
        reach=(videos.log_exposure + exact.log(exact.total(weights, axis=1) + 1e-12)).astype(np.float32),
        again_shares=sizes.day_shares.astype(np.float32),
        is_small_video=is_small_video,
    )


@dataclass(frozen=True)
class Audience:
    """A block of users and the videos shown to them."""

    users: I64
    rows: I64  # plays of each, exact duplicates left out
    is_small_user: Mask
    taste: F32  # [users, videos]


@dataclass(frozen=True)
class Shown:
    """Unordered plays: user (from 0 within the block), video, time (ms since the first local midnight)."""

    user: I64
    video: I64
    local_ms: I64


def show(audience: Audience, supply: Supply, truth: Truth, random: np.random.Generator) -> Shown:
    """Draw the plays of one block of users; the cells of small_matrix stay out: the hole."""
    first, again = _split(audience, supply)
    video = _first_videos(audience, supply, truth, first, random)
    days = supply.day_weights.shape[1]
    habit = calendar.daily_habit(random, len(first), days, sigma=_DAY_SIGMA, away=_AWAY_SHARE)
    chronotype = truth.users.chronotype[audience.users]
    user = np.repeat(np.arange(len(first)), first)
    day = calendar.pick_days(random, supply.day_weights, video, habit, user)
    local_ms = day * calendar.DAY_MS + calendar.time_of_day(random, user, day, chronotype, days)

    again_user = np.repeat(np.arange(len(again)), again)
    starts = np.cumsum(first) - first
    source = starts[again_user] + (random.random(len(again_user)) * first[again_user]).astype(np.int64)
    not_before = np.arange(days)[None, :] >= np.arange(days)[:, None]
    again_day = calendar.pick_days(random, not_before * supply.again_shares, day[source], habit, again_user)
    again_ms = again_day * calendar.DAY_MS + calendar.time_of_day(
        random, again_user, again_day, chronotype, days
    )
    again_ms = np.where(
        again_ms <= local_ms[source], calendar.later_that_day(random, local_ms[source]), again_ms
    )
    return Shown(
        user=np.concatenate([user, again_user]),
        video=np.concatenate([video, video[source]]),
        local_ms=np.concatenate([local_ms, again_ms]),
    )


def _split(audience: Audience, supply: Supply) -> tuple[I64, I64]:
    """How many distinct videos each user is shown, and how many plays are re-watches."""
    outside = int((~supply.is_small_video).sum())
    can_be_shown = np.where(audience.is_small_user, outside, len(supply.is_small_video))
    again = np.rint(audience.rows * REWATCH_SHARE).astype(np.int64)
    again = np.minimum(np.maximum(again, audience.rows - can_be_shown), audience.rows - 1)
    return audience.rows - again, again


def _first_videos(
    audience: Audience, supply: Supply, truth: Truth, first: I64, random: np.random.Generator
) -> I64:
    """Each user's distinct videos, user after user: a weighted sample without replacement."""
    lean = truth.users.category_exposure[audience.users][:, truth.videos.category]
    keys = supply.reach[None, :] + lean + np.float32(_TASTE_LEAN) * audience.taste
    # Adding Gumbel noise and taking the largest n keys draws n without replacement, by weight.
    loops.add_gumbel(random.random(keys.size), keys.ravel())
    keys[np.ix_(audience.is_small_user, supply.is_small_video)] = -np.inf
    picked = [_largest(row, n) for row, n in zip(keys, first.tolist(), strict=True)]
    return np.concatenate(picked).astype(np.int64)


def _largest(keys: F32, count: int) -> I64:
    """Positions of the largest keys, ascending; of equal ones at the border the first."""
    border = np.partition(keys, len(keys) - count)[len(keys) - count]
    above, level = np.flatnonzero(keys > border), np.flatnonzero(keys == border)
    result: I64 = np.sort(np.concatenate([above, level[: count - len(above)]]))
    return result
