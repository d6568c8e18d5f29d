"""Loops over arrays that NumPy has no function for, compiled by numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def compiled(loop: _Loop) -> _Loop:
    """Compile a function of arrays when it is first called. It does not hold Python's global lock.

    The compiled code is cached beside its file, or in the user's cache folder; if neither can be written, as
    in a read-only container, each process compiles again. Without numba's `fastmath`, which nothing here asks
    for, each addition and multiplication is rounded by itself and in the order written, on every processor.
    """
    try:
        found: Any = njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no place for the cache
        found = njit(nogil=True)(loop)
    return cast(_Loop, found)
