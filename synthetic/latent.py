"""The hidden truth: positions of users and videos in a taste space, and how much a user likes a video.

A user has several points of interest, each of which draws them to the videos nearby (a bell curve, so no
dot product of two vectors gives it), and drifts from one set of points to another over the period. On top
come video quality, the author's, liking of categories by user group and by person, and the hour of day.
All effects are in units of log watch time.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic import draws, exact, loops
from synthetic.calendar import DAY_MS, HOUR_MS
from synthetic.sizes import Sizes

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

DIMENSIONS = 6
INTERESTS = 3
BANDWIDTH_SQUARED = 3.0

# Spread of taste over pairs, before scaling, for positions and interests that are standard normal:
# E exp(-d^2 / 2h) = (1 + 2/h)^(-D/2) a interest, with h = BANDWIDTH_SQUARED.
_TASTE_MEAN = INTERESTS * float(exact.power(1 + 2 / BANDWIDTH_SQUARED, -DIMENSIONS / 2))
_TASTE_SPREAD = 0.36
_CLOSENESS_SLOPE = np.float32(-0.5 / BANDWIDTH_SQUARED)

TASTE_SCALE = 0.07
FAN_SHARE = 0.02
FAN_EFFECT = 0.22
HOUR_SCALE = 0.03
TREND_SCALE = 0.08
_CENTRE_USERS = 256


@dataclass(frozen=True)
class UserTruth:
    """The hidden traits of the users; every array has a row per user."""

    level: F32  # how long they watch anything
    looping: F32  # how much they tend to watch again and again
    early_interests: F32  # [users, INTERESTS, DIMENSIONS] at the first day
    late_interests: F32  # the same at the last day
    interest_weights: F32  # [users, INTERESTS]
    category_liking: F32  # [users, categories]
    category_exposure: F32  # [users, categories] what they are shown beyond what they like
    chronotype: I64  # index of the daily rhythm


@dataclass(frozen=True)
class VideoTruth:
    """The hidden traits of the videos; every array has a row per video."""

    position: F32  # [videos, DIMENSIONS]
    category: I64
    author: I64
    quality: F32
    placement: F32  # what the app's own log adds to its appeal, and small_matrix does not
    looping: F32
    log_length: F32  # natural logarithm of seconds


@dataclass(frozen=True)
class Truth:
    """Users, videos, and the effects of time."""

    users: UserTruth
    videos: VideoTruth
    hour_effect: F32  # [24, categories]
    trend: F32  # [categories], from the first day to the last
    fan_salt: int
    days: int
    centre: float  # the mean of all constant effects, subtracted, so that worlds compare


def time_effects(sizes: Sizes, categories: int) -> tuple[F32, F32]:
    """How liking of each category moves over the day [24, categories] and over the period [categories]."""
    random = sizes.stream("time effects")
    phase = draws.uniform(random, 0, 2 * np.pi, categories)
    strength = draws.normal(random, HOUR_SCALE * float(np.sqrt(2)), categories)
    hours = np.arange(24)[:, None] * (2 * np.pi / 24)
    late = HOUR_SCALE * exact.cos(hours - 2 * np.pi * 23 / 24)
    return (
        (late + strength * exact.cos(hours - phase)).astype(np.float32),
        draws.normal(random, TREND_SCALE, categories).astype(np.float32),
    )


def taste(truth: Truth, users: I64, *, late: bool) -> F32:
    """How far each of these users is drawn to each video [users, videos], about zero on average.

    Written as plain loops over the few dimensions: a matrix product's last bits depend on its threads.
    """
    interests, weights = _interests(truth, users, late=late)
    total = np.zeros((len(interests), len(truth.videos.position)), dtype=np.float32)
    loops.add_closeness(interests, weights, truth.videos.position.T.copy(), _CLOSENESS_SLOPE, total)
    return _scaled(total)


def taste_of_pairs(truth: Truth, users: I64, seat: I64, videos: I64, *, late: bool) -> F32:
    """The same as `taste`, for some pairs only: users at the indices `seat`, and these videos."""
    interests, weights = _interests(truth, users, late=late)
    total = np.zeros(len(seat), dtype=np.float32)
    loops.add_pair_closeness(
        interests, weights, truth.videos.position.T.copy(), _CLOSENESS_SLOPE, seat, videos, total
    )
    return _scaled(total)


def _interests(truth: Truth, users: I64, *, late: bool) -> tuple[F32, F32]:
    interests = (truth.users.late_interests if late else truth.users.early_interests)[users]
    return interests, truth.users.interest_weights[users]


def _scaled(total: F32) -> F32:
    return (total - np.float32(_TASTE_MEAN)) * np.float32(TASTE_SCALE / _TASTE_SPREAD)


def mean_appeal(truth: Truth) -> float:
    """The average effect of taste, quality, level and liking of categories, over a sample of the users."""
    users = np.arange(0, len(truth.users.level), max(1, len(truth.users.level) // _CENTRE_USERS))
    liking = truth.users.category_liking[users][:, truth.videos.category]
    mean = exact.mean(taste(truth, users, late=False) + liking)
    return mean + exact.mean(truth.videos.quality) + exact.mean(truth.users.level)


def fans(truth: Truth, users: I64, authors: I64) -> npt.NDArray[np.bool_]:
    """Whether each of these users is a fan of the author in the same row; by hash, constant in time."""
    mixed = users.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= authors.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F) + np.uint64(truth.fan_salt)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    found: npt.NDArray[np.bool_] = mixed < np.uint64(int(FAN_SHARE * 2**64))
    return found


def appeal(truth: Truth, users: I64, videos: I64, *, early: F32, late: F32, local_ms: I64) -> F32:
    """How much each user cares for the video in the same row, at local_ms since the first local midnight.

    All arrays have one row per pair.

    Args:
        early, late: `taste` of each pair on the first and the last day.
    """
    category = truth.videos.category[videos]
    hour = local_ms // HOUR_MS % 24
    progress = (local_ms / (DAY_MS * truth.days)).astype(np.float32)
    result: F32 = early + (late - early) * progress
    result += truth.videos.quality[videos] - np.float32(truth.centre)
    result += truth.users.level[users]
    result += truth.users.category_liking[users, category]
    result += np.float32(FAN_EFFECT) * (
        fans(truth, users, truth.videos.author[videos]) - np.float32(FAN_SHARE)
    )
    result += truth.hour_effect[hour, category]
    result += truth.trend[category] * (progress - np.float32(0.5))
    return result
