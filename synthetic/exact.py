"""exp, log and the like from + - * / and square roots alone, so that every processor gives the same bits.

NumPy and the C library choose their own exp, log, power and sums by what the processor can do (SSE, AVX2,
AVX-512, FMA), and these differ in the last bits. Whatever is drawn, cut or sorted by such values differs
between machines. IEEE 754 fixes the result of each basic operation, and NumPy does one at a time.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from synthetic import loops

F64 = npt.NDArray[np.float64]
Values = npt.NDArray[Any] | float

_SQRT_HALF = 0.70710678118654752440
_TWO_PI = 6.28318530717958647693

_COS_TERMS = tuple((-1) ** n / math.factorial(2 * n) for n in range(15, -1, -1))

# Rational approximation of the complementary error function, to 1.2e-7 of its value (Numerical Recipes, 6.2).
_ERFC_TERMS = (0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
               -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223)  # fmt: skip


def exp(values: Values) -> F64:
    """The exponential function: e to the power of each value."""
    return _of_each(loops.exp_of, values)


def log(values: Values) -> F64:
    """Natural logarithms of positive numbers."""
    return _of_each(loops.log_of, values)


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


def _of_each(loop: Callable[[F64, F64], None], values: Values) -> F64:
    array = np.asarray(values, dtype=np.float64)
    result = np.empty(array.size, dtype=np.float64)
    loop(array.ravel(), result)
    return result.reshape(array.shape)


def _polynomial(terms: tuple[float, ...], x: F64) -> F64:
    """The value of a polynomial at x.

    Args:
        terms: coefficients, from the highest power down.
    """
    result = np.full_like(x, terms[0])
    for term in terms[1:]:
        result *= x
        result += term
    return result
