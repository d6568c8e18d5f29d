"""Loops over arrays that NumPy has no function for, compiled by numba."""

from collections.abc import Callable
from typing import Any, cast

from numba import njit

_Loop = Callable[..., None]


def compiled(loop: _Loop) -> _Loop:
    """Compile a function of arrays when it is first called. It holds no lock of Python's while it runs.

    What is compiled is kept beside its file for the next process, or in the user's cache folder; where
    neither can be written, as in a container that is read-only, each process compiles anew.
    """
    try:
        found: Any = njit(nogil=True, cache=True)(loop)
    except RuntimeError:  # no place for the cache
        found = njit(nogil=True)(loop)
    return cast(_Loop, found)
