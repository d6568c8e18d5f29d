"""Who is shown what, and when: the part of the log that is not about liking.

How often a video is shown says next to nothing about its quality. Each user is shown distinct videos, drawn
by the video's own reach and a weak lean to what they like, and comes back to some of them later.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.synthesize.latent import Truth
from pipelines.synthesize.sizes import KUAIREC_INTERACTIONS, Sizes
from pipelines.synthesize.videos import Videos

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

DAY_MS = 86_400_000
DUPLICATE_SHARE = 965_819 / KUAIREC_INTERACTIONS
REWATCH_SHARE = 0.09
SESSIONS = 6

# Plays of a user over their mean, by the user's place among all (KuaiRec: 100 / 883 / 1847 / 2461 / 16015).
_ACTIVITY_PLACES = (0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
_ACTIVITY_PLAYS = (100.0, 883.0, 1847.0, 2461.0, 3500.0, 4600.0, 16015.0)

_DAY_SIGMA = 0.85
_AWAY_SHARE = 0.05
_AGE_POWER = 0.6
_TASTE_LEAN = 2.5

# Plays by local hour of four daily rhythms: early bird, office, evening, night owl.
_RHYTHMS = np.array(
    [
        [2, 1, 1, 1, 2, 6, 10, 9, 7, 6, 5, 6, 8, 7, 5, 5, 5, 6, 8, 9, 9, 7, 5, 3],
        [3, 2, 1, 1, 1, 1, 3, 6, 5, 4, 4, 6, 10, 8, 5, 4, 4, 6, 9, 10, 11, 11, 9, 6],
        [5, 2, 1, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 6, 5, 5, 5, 6, 8, 11, 13, 13, 12, 9],
        [11, 9, 6, 4, 2, 1, 1, 2, 2, 3, 4, 5, 6, 6, 6, 6, 5, 5, 6, 7, 9, 11, 12, 12],
    ],
    dtype=np.float64,
)


def plays_a_user(sizes: Sizes, activity: npt.NDArray[np.float64]) -> I64:
    """Rows of big_matrix for each user: KuaiRec's heavy-tailed shape, exactly `interactions` in all."""
    shape = np.interp(activity, _ACTIVITY_PLACES, _ACTIVITY_PLAYS)
    wanted = shape * ((sizes.interactions - sizes.users) / shape.sum())
    rows = np.floor(wanted).astype(np.int64)
    missing = sizes.interactions - sizes.users - int(rows.sum())
    rows[np.argsort(rows - wanted, kind="stable")[:missing]] += 1
    return rows + 1


def day_weights(sizes: Sizes, appear_day: I64) -> F32:
    """How likely a play of each video falls on each day [videos, days]: zero before it appears."""
    age = np.arange(sizes.days)[None, :] - appear_day[:, None]
    fresh = np.where(age >= 0, (1.0 + np.maximum(age, 0)) ** -_AGE_POWER, 0.0)
    return (fresh * sizes.day_shares).astype(np.float32)


@dataclass(frozen=True)
class Shown:
    """Plays of a block of users, in no order: who (from 0 within the block), what, and when (ms, local)."""

    user: I64
    video: I64
    local_ms: I64  # since the first day's local midnight


@dataclass(frozen=True)
class Block:
    """A few users next to each other, and what is theirs."""

    users: slice
    rows: I64  # distinct plays and re-watches of each, duplicates left out
    inside: npt.NDArray[np.bool_]  # whether they are users of small_matrix
    taste: F32  # [users, videos]


def show(
    block: Block,
    sizes: Sizes,
    truth: Truth,
    videos: Videos,
    weights: F32,
    small_videos: npt.NDArray[np.bool_],
    random: np.random.Generator,
) -> Shown:
    """Draw the plays of one block of users; the cells of small_matrix stay out: the hole."""
    lean = truth.users.category_exposure[block.users][:, truth.videos.category]
    key = videos.log_exposure + np.log(weights.sum(axis=1) + np.float32(1e-12))
    keys = key[None, :] + lean + np.float32(_TASTE_LEAN) * block.taste
    keys -= np.log(random.standard_exponential(keys.shape, dtype=np.float32))  # Gumbel: top n is a sample
    keys[np.ix_(block.inside, small_videos)] = -np.inf
    open_videos = np.where(block.inside, int((~small_videos).sum()), sizes.videos)
    again = np.maximum(np.rint(block.rows * REWATCH_SHARE).astype(np.int64), block.rows - open_videos)
    first = block.rows - again
    first, again = np.maximum(first, 1), np.minimum(again, block.rows - 1)
    video = np.concatenate(
        [np.argpartition(-row, n - 1)[:n] for row, n in zip(keys, first.tolist(), strict=True)]
    )
    user = np.repeat(np.arange(len(first)), first)
    habit = _daily_habit(random, len(first), sizes.days)
    day = _pick_days(random, weights[video], habit[user])
    again_user = np.repeat(np.arange(len(again)), again)
    starts = np.cumsum(first) - first
    source = starts[again_user] + (random.random(len(again_user)) * first[again_user]).astype(np.int64)
    later = np.where(
        np.arange(sizes.days)[None, :] >= day[source][:, None],
        sizes.day_shares.astype(np.float32)[None, :],
        0,
    ).astype(np.float32)
    again_day = _pick_days(random, later, habit[again_user])
    all_users = np.concatenate([user, again_user])
    all_days = np.concatenate([day, again_day])
    chronotype = truth.users.chronotype[block.users]
    local_ms = all_days * DAY_MS + time_of_day(random, all_users, all_days, chronotype, sizes.days)
    # A re-watch on the day of the first watch comes after it.
    firsts, repeats = local_ms[source], local_ms[len(user) :]
    same = again_day == day[source]
    earlier, latest = np.minimum(firsts, repeats), np.maximum(firsts, repeats)
    gap = np.where(latest == earlier, 1, 0)
    local_ms[len(user) :] = np.where(same & (repeats <= firsts), _after(random, firsts) + gap * 0, repeats)
    return Shown(all_users, np.concatenate([video, video[source]]), local_ms)


def _after(random: np.random.Generator, local_ms: I64) -> I64:
    """An instant after each of these, on the same day."""
    left = DAY_MS - 1 - local_ms % DAY_MS
    wait = np.minimum(random.exponential(1_800_000, len(local_ms)), left * random.random(len(local_ms)))
    result: I64 = local_ms + np.minimum(wait.astype(np.int64) + 1, left)
    return result


def _daily_habit(random: np.random.Generator, users: int, days: int) -> F32:
    """How busy each user is on each day [users, days], times what is usual; some days they are away."""
    habit = np.exp(random.normal(0, _DAY_SIGMA, (users, days)))
    habit[random.random((users, days)) < _AWAY_SHARE] *= 1e-6
    return habit.astype(np.float32)


def _pick_days(random: np.random.Generator, weights: F32, habit: F32) -> I64:
    """One day for each row, with chances weights x habit [rows, days]."""
    total = np.cumsum(weights * habit, axis=1, dtype=np.float32)
    point = random.random(len(total), dtype=np.float32) * total[:, -1]
    day = (total <= point[:, None]).sum(axis=1)
    possible = (weights > 0).cumsum(axis=1)
    last = weights.shape[1] - 1 - np.argmax(weights[:, ::-1] > 0, axis=1)
    first = np.argmax(possible > 0, axis=1)
    result: I64 = np.clip(day, first, last)
    return result


def time_of_day(random: np.random.Generator, user: I64, day: I64, chronotype: I64, days: int) -> I64:
    """ms since local midnight for each row: people watch in a few sessions a day, at hours of their own."""
    rhythm = np.cumsum(_RHYTHMS / _RHYTHMS.sum(axis=1, keepdims=True), axis=1)
    users = len(chronotype)
    point = random.random((users, days, SESSIONS))
    hour = (rhythm[chronotype][:, None, None, :] <= point[..., None]).sum(axis=-1)
    start = (np.minimum(hour, 23) + random.random(hour.shape)) * 3_600_000
    session = np.minimum(random.geometric(0.35, len(user)) - 1, SESSIONS - 1)
    ms = start[user, day, session] + random.exponential(900_000, len(user))
    over = ms >= DAY_MS
    ms[over] = random.random(int(over.sum())) * DAY_MS
    return np.minimum(ms.astype(np.int64), DAY_MS - 1)
