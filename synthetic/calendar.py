"""When plays happen: on which day, so that each day gets its share of rows, and at which time of day."""

import numpy as np
import numpy.typing as npt

from synthetic import draws, exact, loops

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
SESSIONS = 6

_ROUNDS = 60
_SESSION_CHANCE = 0.35
_SESSION_MS = 900_000
_RETURN_MS = 1_800_000

# Plays by local hour of four daily rhythms: early bird, office, evening, night owl.
_RHYTHMS: F64 = np.array(
    [
        [2, 1, 1, 1, 2, 6, 10, 9, 7, 6, 5, 6, 8, 7, 5, 5, 5, 6, 8, 9, 9, 7, 5, 3],
        [3, 2, 1, 1, 1, 1, 3, 6, 5, 4, 4, 6, 10, 8, 5, 4, 4, 6, 9, 10, 11, 11, 9, 6],
        [5, 2, 1, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 6, 5, 5, 5, 6, 8, 11, 13, 13, 12, 9],
        [11, 9, 6, 4, 2, 1, 1, 2, 2, 3, 4, 5, 6, 6, 6, 6, 5, 5, 6, 7, 9, 11, 12, 12],
    ],
    dtype=np.float64,
)
RHYTHMS = len(_RHYTHMS)


def first_play_shares(day_shares: F64, again_share: float) -> F64:
    """Share of first plays on each day [days], where again_share of all plays are re-watches.

    A re-watch falls on the first play's day or a later one, so re-watches crowd the end of the period;
    first plays make up for it, so that both together follow day_shares.
    """
    left = np.cumsum(day_shares[::-1])[::-1]
    first = np.zeros_like(day_shares)
    waiting = 0.0  # sum over earlier days of first plays / what is left of the period
    for day, share in enumerate(day_shares.tolist()):
        if share > 0:
            again_same_day = again_share * share / left[day]
            target = share - again_share * share * waiting
            first[day] = max(target, 0.02 * share) / (1 - again_share + again_same_day)
            waiting += first[day] / left[day]
    result: F64 = first / exact.total(first)
    return result


def balanced(fresh: F64, reach: F64 | None, shares: F64, plays: F64) -> F32:
    """Weights of each video's days [videos, days] for which the days' totals follow `shares`.

    Args:
        fresh: [videos, days], how much each video would be played if all days were equal; 0 before it
            appears.
        reach: [videos], how often each video is shown; None if each is shown once.
        shares: [days].
        plays: first plays of a few typical users, from idle to busy. The videos shown most have soon reached
            everybody, the busy before the idle, which is allowed for.
    """
    push = np.where(shares > 0, 1.0, 0.0)
    for _ in range(_ROUNDS):
        weights = fresh * push
        total = exact.total(weights, axis=1)
        played = np.ones_like(total) if reach is None else sum(_included(total * reach, n) for n in plays)
        by_day = exact.total((played / np.maximum(total, 1e-300))[:, None] * weights, axis=0)
        moved = shares / np.maximum(by_day / exact.total(by_day), 1e-12)
        push *= exact.power(np.where((by_day > 0) & (shares > 0), moved, 1.0), 0.7)
        push /= push.max()
    result: F32 = (fresh * push).astype(np.float32)
    return result


def _included(reach: F64, plays: float) -> F64:
    """The probability that a user with this many plays has played each video."""
    plays = min(plays, 0.98 * int((reach > 0).sum()))
    low, high = 0.0, 1.0
    while exact.total(1 - exact.exp(-high * reach)) < plays:
        high *= 2
    for _ in range(25):
        middle = (low + high) / 2
        if exact.total(1 - exact.exp(-middle * reach)) < plays:
            low = middle
        else:
            high = middle
    result: F64 = 1 - exact.exp(-high * reach)
    return result


def daily_habit(random: np.random.Generator, users: int, days: int, *, sigma: float, away: float) -> F32:
    """How busy each user is on each day [users, days], relative to the median; about 0 on days away."""
    habit = draws.lognormal(random, 0, sigma, (users, days))
    habit[random.random((users, days)) < away] *= 1e-6
    return habit.astype(np.float32)


def pick_days(random: np.random.Generator, weights: F32, weights_row: I64, habit: F32, habit_row: I64) -> I64:
    """One day for each pair of rows, with chances weights x habit; a day of weight 0 is never picked.

    Args:
        weights: [any, days].
        weights_row, habit_row: the row in `weights` and in `habit` of each pair.
        habit: of `daily_habit`.
    """
    points = random.random(len(weights_row), dtype=np.float32)
    day = np.empty(len(weights_row), dtype=np.int64)
    loops.pick_days(weights, weights_row, habit, habit_row, points, day)
    return day


def time_of_day(random: np.random.Generator, user: I64, day: I64, chronotype: I64, days: int) -> I64:
    """Each row's time in ms since local midnight: people watch in a few sessions a day, at their own hours.

    Args:
        user: the row in `chronotype`, which holds each user's daily rhythm.
    """
    rhythm = np.cumsum(_RHYTHMS / exact.total(_RHYTHMS)[:, None], axis=1)
    point = random.random((len(chronotype), days, SESSIONS))
    hour = (rhythm[chronotype][:, None, None, :] <= point[..., None]).sum(axis=-1)
    start = (np.minimum(hour, 23) + random.random(hour.shape)) * HOUR_MS
    session = np.minimum(draws.geometric(random, _SESSION_CHANCE, len(user)) - 1, SESSIONS - 1)
    ms = start[user, day, session] + _SESSION_MS * draws.exponential(random, len(user))
    over = ms >= DAY_MS
    ms[over] = random.random(int(over.sum())) * DAY_MS
    result: I64 = np.minimum(ms.astype(np.int64), DAY_MS - 1)
    return result


def later_that_day(random: np.random.Generator, local_ms: I64) -> I64:
    """An instant after each of these, before midnight (the same instant in the day's last ms)."""
    left = DAY_MS - 1 - local_ms % DAY_MS
    wait = _RETURN_MS * draws.exponential(random, len(local_ms))
    wait = np.minimum(wait, left * random.random(len(local_ms)))
    result: I64 = local_ms + np.minimum(wait.astype(np.int64) + 1, left)
    return result
