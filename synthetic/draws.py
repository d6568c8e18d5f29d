"""Random draws that are the same on every processor: uniform numbers of NumPy, and `exact` from there on.

NumPy's own normal, exponential, gamma, geometric and binomial draws call the C library's exp and log, whose
last bits differ between machines; its uniform numbers, whole numbers and permutations come from integers.
"""

import numpy as np
import numpy.typing as npt

from synthetic import exact

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Shape = int | tuple[int, ...]

# The normal distribution's quantiles: the rational approximations of Wichura's AS 241 (1988), to 1e-15,
# numerators and denominators from the highest power down, in the middle and in the tails.
_MIDDLE = (
    (2.50908092873012267e3, 3.34305755835881281e4, 6.72657709270087009e4, 4.59219539315498715e4,
     1.37316937655094611e4, 1.97159095030655144e3, 1.33141667891784377e2, 3.38713287279636661),
    (5.22649527885285456e3, 2.87290857357219427e4, 3.93078958000927106e4, 2.12137943015865959e4,
     5.39419602142475111e3, 6.87187007492057908e2, 4.23133307016009113e1, 1.0),
)  # fmt: skip
_TAIL = (
    (7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590,
     1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
     2.05319162663775882187, 1.0),
)  # fmt: skip
# Beyond this share, 6.6 standard deviations out, the approximation is invalid; nothing is drawn there.
_SHARE_MIN = 1.4e-11

_COUNTED_MEAN_MAX = 16.0
_COUNTED_MAX = 200


def normal(random: np.random.Generator, spread: float, shape: Shape) -> F64:
    """Normal numbers around 0."""
    return spread * normal_quantile(random.random(shape))


def lognormal(random: np.random.Generator, centre: float, spread: float, shape: Shape) -> F64:
    """Numbers whose natural logarithm is normal."""
    return exact.exp(centre + normal(random, spread, shape))


def exponential(random: np.random.Generator, shape: Shape) -> F64:
    """Exponential numbers of mean 1, always over 0."""
    return -exact.log(1.0 - np.maximum(random.random(shape), 2.0**-53))


def pareto(random: np.random.Generator, exponent: float, shape: Shape) -> F64:
    """Pareto numbers less 1, from 0 on (Lomax)."""
    result: F64 = exact.exp(exponential(random, shape) / exponent) - 1.0
    return result


def uniform(random: np.random.Generator, low: float, high: float, shape: Shape) -> F64:
    """Uniform numbers from low to high."""
    result: F64 = low + (high - low) * random.random(shape)
    return result


def geometric(random: np.random.Generator, chance: float, shape: Shape) -> I64:
    """Attempts up to the first success, from 1 on."""
    result: I64 = np.floor(exponential(random, shape) / -float(exact.log(1.0 - chance))).astype(np.int64) + 1
    return result


def binomial(random: np.random.Generator, trials: I64, chance: F64 | float) -> I64:
    """Binomial draws: the number of successes in each row's trials.

    Counted exactly where few are expected, otherwise from a normal distribution with the binomial's skewness.
    """
    share = np.broadcast_to(np.asarray(chance, dtype=np.float64), trials.shape)
    rare = np.minimum(share, 1.0 - share)
    point = random.random(trials.shape)
    mean = trials * rare
    quantile = normal_quantile(point)
    skewed = quantile + (1.0 - 2.0 * rare) * (quantile * quantile - 1.0) / (
        6.0 * np.sqrt(np.maximum(mean * (1.0 - rare), 1.0))
    )
    successes = np.rint(mean + np.sqrt(mean * (1.0 - rare)) * skewed).astype(np.int64)
    few = np.flatnonzero(mean < _COUNTED_MEAN_MAX)
    successes[few] = _counted(point[few], trials[few], rare[few])
    successes = np.clip(successes, 0, trials)
    result: I64 = np.where(share > rare, trials - successes, successes)
    return result


def normal_quantile(share: F64) -> F64:
    """The quantile of the standard normal distribution for each share."""
    flat = share.ravel()
    off_middle = flat - 0.5
    inside = 0.180625 - off_middle * off_middle
    result = off_middle * exact.ratio(*_MIDDLE, inside)
    tail = np.flatnonzero(inside < 0)
    outer = np.maximum(np.minimum(flat[tail], 1.0 - flat[tail]), _SHARE_MIN)
    distance = exact.ratio(*_TAIL, np.sqrt(-exact.log(outer)) - 1.6)
    result[tail] = np.where(off_middle[tail] < 0, -distance, distance)
    return result.reshape(share.shape)


def _counted(point: F64, trials: I64, chance: F64) -> I64:
    """Quantiles of the binomial distribution, its chances added one by one."""
    successes = np.zeros(len(point), dtype=np.int64)
    odds = chance / (1.0 - chance)
    term = exact.exp(trials * exact.log(1.0 - chance))
    below = term.copy()
    open_rows = np.flatnonzero(point > below)
    for count in range(1, _COUNTED_MAX):
        open_rows = open_rows[successes[open_rows] < trials[open_rows]]
        if not len(open_rows):
            break
        successes[open_rows] = count
        term[open_rows] *= odds[open_rows] * (trials[open_rows] - (count - 1)) / count
        below[open_rows] += term[open_rows]
        open_rows = open_rows[point[open_rows] > below[open_rows]]
    return successes
