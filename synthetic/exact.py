"""exp, log and their kin from + - * / and square roots alone, so that every processor gives the same bits.

NumPy and the C library choose their own exp, log, power and sums by what the processor can do (SSE, AVX2,
AVX-512, FMA), and these differ in the last bits. Whatever is drawn, cut or sorted from such a value differs
from machine to machine. IEEE 754 fixes the result of each basic operation, and NumPy does one at a time.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Values = npt.NDArray[Any] | float

# The natural logarithm of 2 in two parts; the first has so few bits that whole multiples of it are exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_ONE_BY_LN2 = 1.44269504088896338700
_SQRT_HALF = 0.70710678118654752440
_TWO_PI = 6.28318530717958647693

_EXP_TERMS = tuple(1 / math.factorial(n) for n in range(13, -1, -1))
_LOG_TERMS = tuple(1 / (2 * n + 1) for n in range(11, -1, -1))
_COS_TERMS = tuple((-1) ** n / math.factorial(2 * n) for n in range(15, -1, -1))
# exp(-709) and exp(709) are still normal numbers.
_EXP_MAX = 709.0

# Rational approximation of the complementary error function, to 1.2e-7 of its value (Numerical Recipes, 6.2).
_ERFC_TERMS = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
               -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223)  # fmt: skip

# The arrays of one piece stay in the processor's cache.
_PIECE = 32_768


def exp(values: Values) -> F64:
    """The exponential function: e to the power of each value."""
    return _in_pieces(_exp, values)


def log(values: Values) -> F64:
    """Natural logarithms of positive numbers."""
    return _in_pieces(_log, values)


def power(base: Values, exponent: Values) -> F64:
    """Positive numbers to any power."""
    return exp(log(base) * exponent)


def expit(values: Values) -> F64:
    """The logistic function, 1 / (1 + exp(-x))."""
    result: F64 = 1.0 / (1.0 + exp(-np.asarray(values, dtype=np.float64)))
    return result


def cos(values: Values) -> F64:
    """Cosines, to 1e-12."""
    turns = np.asarray(values, dtype=np.float64) / _TWO_PI
    angle = (turns - np.rint(turns)) * _TWO_PI
    return _polynomial(_COS_TERMS, angle * angle)


def ndtr(values: Values) -> F64:
    """The share of the standard normal distribution below these, to 1e-7."""
    x = np.asarray(values, dtype=np.float64)
    z = np.abs(x) * _SQRT_HALF
    t = 1.0 / (1.0 + 0.5 * z)
    tail = 0.5 * t * exp(_polynomial(_ERFC_TERMS, t) - z * z)
    result: F64 = np.where(x > 0, 1.0 - tail, tail)
    return result


def ratio(above: tuple[float, ...], below: tuple[float, ...], x: F64) -> F64:
    """One polynomial divided by another, both from the highest power down."""
    result: F64 = _polynomial(above, x) / _polynomial(below, x)
    return result


def interpolate(at: Values, positions: tuple[float, ...], values: F64) -> F64:
    """Linear interpolation through the points (positions, values), as np.interp; positions ascend."""
    x = np.clip(np.asarray(at, dtype=np.float64), positions[0], positions[-1])
    corners = np.array(positions)
    slopes = (values[1:] - values[:-1]) / (corners[1:] - corners[:-1])
    line = np.clip(np.searchsorted(corners, x, side="right") - 1, 0, len(slopes) - 1)
    result: F64 = values[line] + slopes[line] * (x - corners[line])
    return result


def total(values: npt.NDArray[Any], axis: int = -1) -> F64:
    """Sums in float64 along an axis, added strictly one after the other."""
    running = np.cumsum(values, axis=axis, dtype=np.float64)
    result: F64 = np.asarray(running.take(-1, axis=axis))
    return result


def mean(values: npt.NDArray[Any]) -> float:
    """The mean of all values."""
    return float(total(values.ravel())) / values.size


def _in_pieces(function: Callable[[F64], F64], values: Values) -> F64:
    array = np.asarray(values)
    flat = array.ravel()
    result = np.empty(flat.size, dtype=np.float64)
    for start in range(0, flat.size, _PIECE):
        piece = slice(start, start + _PIECE)
        result[piece] = function(flat[piece].astype(np.float64))
    return result.reshape(array.shape)


def _polynomial(terms: tuple[float, ...], x: F64) -> F64:
    """terms: from the highest power down."""
    result = np.full_like(x, terms[0])
    for term in terms[1:]:
        result *= x
        result += term
    return result


def _exp(x: F64) -> F64:
    x = np.clip(x, -_EXP_MAX, _EXP_MAX)
    doublings = np.rint(x * _ONE_BY_LN2)
    rest = (x - doublings * _LN2_HIGH) - doublings * _LN2_LOW
    result: F64 = np.ldexp(_polynomial(_EXP_TERMS, rest), doublings.astype(np.int32))
    return result


def _log(x: F64) -> F64:
    fraction, doublings = np.frexp(x)
    small = fraction < _SQRT_HALF
    fraction = np.where(small, fraction + fraction, fraction)
    whole = doublings - small.astype(np.float64)
    ratio = (fraction - 1.0) / (fraction + 1.0)
    series = (ratio + ratio) * _polynomial(_LOG_TERMS, ratio * ratio)
    result: F64 = whole * _LN2_HIGH + (series + whole * _LN2_LOW)
    return result
