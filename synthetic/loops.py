"""The inner loops of the synthetic world, compiled by numba.

Like `exact`, they use nothing but + - * / and square roots, one after the other, so that every processor
gives the same bits.
"""

import math

import numpy as np

from nightreel.core.compiled import compiled

# The natural logarithm of 2 in two parts; the first has so few bits that whole multiples of it are exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ONE_BY_LN2 = 1.44269504088896338700
_SQRT_HALF = 0.70710678118654752440
# exp(-709) and exp(709) are still normal numbers.
_EXP_MAX = 709.0
_EXP_TERMS = tuple(1 / math.factorial(n) for n in range(13, -1, -1))
_LOG_TERMS = tuple(1 / (2 * n + 1) for n in range(11, -1, -1))

# The bits of a float64: 52 of the fraction, then 11 of the exponent, which is 1022 for values in 0.5..1.
_FRACTION_BITS = np.int64(52)
_FRACTION_MASK = np.int64(2**52 - 1)
_ONE_EXPONENT, _HALF_EXPONENT = np.int64(1023), np.int64(1022)
_SIGNIFICANT_MIN = 2.0**-1022
_TO_SIGNIFICANT = 2.0**54

_DRAW_MIN = 2.0**-53


@compiled
def _power_of_two(exponent: np.int64) -> np.float64:
    return np.int64((exponent + _ONE_EXPONENT) << _FRACTION_BITS).view(np.float64)


@compiled
def _exp(x: np.float64) -> np.float64:
    inside = min(max(x, -_EXP_MAX), _EXP_MAX)
    doublings = np.rint(inside * _ONE_BY_LN2)
    rest = (inside - doublings * _LN2_HIGH) - doublings * _LN2_LOW
    result = _EXP_TERMS[0]
    for term in range(1, 14):
        result = result * rest + _EXP_TERMS[term]
    # In two steps, as the last power may be below the smallest normal number.
    whole = np.int64(doublings)
    half = whole >> np.int64(1)
    return (result * _power_of_two(half)) * _power_of_two(whole - half)


@compiled
def _log(x: np.float64) -> np.float64:
    # Without branches, so that several values are computed at once.
    tiny = x < _SIGNIFICANT_MIN
    bits = np.float64(x * (_TO_SIGNIFICANT if tiny else 1.0)).view(np.int64)
    fraction = np.int64((bits & _FRACTION_MASK) | (_HALF_EXPONENT << _FRACTION_BITS)).view(np.float64)
    small = fraction < _SQRT_HALF
    fraction = fraction + (fraction if small else 0.0)
    whole = np.float64((bits >> _FRACTION_BITS) - _HALF_EXPONENT)
    whole = whole - (1.0 if small else 0.0) - (54.0 if tiny else 0.0)
    ratio = (fraction - 1.0) / (fraction + 1.0)
    squared = ratio * ratio
    series = _LOG_TERMS[0]
    for term in range(1, 12):
        series = series * squared + _LOG_TERMS[term]
    return whole * _LN2_HIGH + ((ratio + ratio) * series + whole * _LN2_LOW)


@compiled
def exp_of(values: np.ndarray, out: np.ndarray) -> None:
    """The exponential function of each value, float64."""
    for at in range(len(values)):
        out[at] = _exp(values[at])


@compiled
def log_of(values: np.ndarray, out: np.ndarray) -> None:
    """The natural logarithm of each value, float64; values are over 0."""
    for at in range(len(values)):
        out[at] = _log(values[at])


@compiled
def add_closeness(
    interests: np.ndarray, weights: np.ndarray, position: np.ndarray, slope: np.float32, out: np.ndarray
) -> None:
    """Add exp(slope * squared distance), by weight, of each user's interests to each video.

    Args:
        interests: float32 [users, interests, dimensions].
        weights: float32 [users, interests].
        position: float32 [dimensions, videos].
        out: float32 [users, videos], added to in place.
    """
    distance = np.empty(position.shape[1], dtype=np.float32)
    for user in range(interests.shape[0]):
        for interest in range(interests.shape[1]):
            distance[:] = np.float32(0)
            for dimension in range(interests.shape[2]):
                own = interests[user, interest, dimension]
                for video in range(position.shape[1]):
                    difference = own - position[dimension, video]
                    distance[video] += difference * difference
            weight = weights[user, interest]
            for video in range(position.shape[1]):
                closeness = np.float32(_exp(np.float64(distance[video] * slope)))
                out[user, video] += weight * closeness


@compiled
def add_pair_closeness(
    interests: np.ndarray,
    weights: np.ndarray,
    position: np.ndarray,
    slope: np.float32,
    user: np.ndarray,
    video: np.ndarray,
    out: np.ndarray,
) -> None:
    """What `add_closeness` adds, for the pairs of `user` and `video` alone.

    Args:
        out: float32 [pairs], added to in place.
    """
    for pair in range(len(user)):
        own, other = user[pair], video[pair]
        for interest in range(interests.shape[1]):
            distance = np.float32(0)
            for dimension in range(interests.shape[2]):
                difference = interests[own, interest, dimension] - position[dimension, other]
                distance += difference * difference
            closeness = np.float32(_exp(np.float64(distance * slope)))
            out[pair] += weights[own, interest] * closeness


@compiled
def add_gumbel(points: np.ndarray, keys: np.ndarray) -> None:
    """Add Gumbel noise to each key (float32), made of a point in 0..1 (float64)."""
    for at in range(len(keys)):
        waiting = -_log(1.0 - max(points[at], _DRAW_MIN))
        keys[at] -= np.float32(_log(waiting))


@compiled
def pick_days(
    weights: np.ndarray,
    weights_row: np.ndarray,
    habit: np.ndarray,
    habit_row: np.ndarray,
    points: np.ndarray,
    out: np.ndarray,
) -> None:
    """One day for each pair of rows, with chances weights x habit, at its point in 0..1.

    Args:
        weights: float32 [any, days].
        habit: float32 [any, days].
        weights_row, habit_row: int64 [pairs].
        points: float32 [pairs].
        out: int64 [pairs], filled in place.
    """
    days = weights.shape[1]
    so_far = np.empty(days, dtype=np.float32)
    for pair in range(len(out)):
        chance, busy = weights[weights_row[pair]], habit[habit_row[pair]]
        total = np.float32(0)
        last = days - 1
        for day in range(days):
            total += chance[day] * busy[day]
            so_far[day] = total
            if chance[day] > 0:
                last = day
        point = points[pair] * total
        day = 0
        while day < days and so_far[day] <= point:
            day += 1
        # Where rounding carries the point past the end, the last possible day.
        out[pair] = min(day, last)
