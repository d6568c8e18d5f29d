"""Loops over arrays that NumPy has no function for, compiled by numba."""

from collections.abc import Callable
from typing import Any, cast

from numba import njit

_Loop = Callable[..., None]


def compiled(loop: _Loop) -> _Loop:
    """Compile a function of arrays when it is first called. It does not hold Python's global lock.

    The compiled code is cached beside its file, or in the user's cache folder; if neither can be written, as
    in a read-only container, each process compiles anew.
    """
    try:
        found: Any = njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # the cache cannot be written
        found = njit(nogil=True)(loop)
    return cast(_Loop, found)
