"""Memory for columns that are large, few and written once."""

import ctypes
import mmap
import sys
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Arrow's own pool takes up to three times as long for new memory (measured with mimalloc 3.4), and gives it
# back late.
POOL = pa.system_memory_pool()
# Giving memory back takes some milliseconds, so it is done only once this many bytes were freed.
GIVEN_BACK_BYTES = 1 << 22
# Smaller columns come from memory that this process has used before.
MAPPED_BYTES = 1 << 21
# Linux's MADV_POPULATE_WRITE, which Python's mmap does not name.
POPULATE_WRITE = 23

LIBC = ctypes.CDLL(None)


def new_column(kind: np.dtype[Any], rows: int) -> NDArray[Any]:
    """An array [rows] with arbitrary values, to be written once from its start to its end.

    A large one is mapped by itself: it goes back to the system when it is no longer in use.
    """
    size = kind.itemsize * rows
    if size < MAPPED_BYTES:
        return np.empty(rows, dtype=kind)
    return np.frombuffer(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), kind, rows)


def populate(values: NDArray[Any]) -> None:
    """Get the pages of a part of a large new column at once, in two thirds of the time that one by one takes.

    It begins with a page. Without Linux 5.14 or later, do nothing: a page comes when it is written to.
    """
    if sys.platform == "linux":
        LIBC.madvise(ctypes.c_void_p(values.ctypes.data), ctypes.c_size_t(values.nbytes), POPULATE_WRITE)


def give_back(freed_bytes: int) -> None:
    """Return about `freed_bytes` of free memory to the system; of the C library's, only with glibc.

    Arrow's pool and glibc keep what a thread has freed, and the next column is allocated elsewhere.
    """
    if freed_bytes < GIVEN_BACK_BYTES:
        return
    pa.default_memory_pool().release_unused()
    trim = getattr(LIBC, "malloc_trim", None)
    if trim is not None:
        trim(0)
