"""Sorting and searching whole numbers the way that a processor's caches like it."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# Values looked up at a time: the temporaries stay small beside the values themselves.
BLOCK_ROWS = 131_072
# A haystack of up to so many values lies in the cache, and needles in any order find their way.
CACHED_ROWS = 4_096


def stable_order(values: Int64Array) -> Int64Array:
    """The order that sorts non-negative values; equal ones stay in the order that they have.

    NumPy sorts numbers five times as fast as it finds their order. So each row's number is put below its
    value, and the whole is sorted: in two passes, low bits first, where both do not fit into one.
    """
    row_bits = max(len(values) - 1, 1).bit_length()
    digit_bits = 63 - row_bits
    rows = np.arange(len(values))
    order = rows
    for shift in range(0, max(int(values.max(initial=0)).bit_length(), 1), digit_bits):
        digit = (values if shift == 0 else values[order]) >> shift
        digit &= (1 << digit_bits) - 1
        digit <<= row_bits
        digit |= rows
        digit.sort()
        digit &= (1 << row_bits) - 1
        order = digit if shift == 0 else order[digit]
    return order


def distinct(values: Int64Array) -> Int64Array:
    """The distinct values, ascending. NumPy's own `unique` hashes, which takes fifty times as long."""
    ordered = np.sort(values)
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    found: Int64Array = ordered[first]
    return found


def search(haystack: Int64Array, needles: Int64Array, side: Literal["left", "right"]) -> Int64Array:
    """`np.searchsorted`, with the needles of each block in order.

    Needles at random miss the cache at every step of every search.
    """
    if len(haystack) <= CACHED_ROWS:
        return np.searchsorted(haystack, needles, side=side)
    found = np.empty(len(needles), dtype=np.int64)
    for start in range(0, len(needles), BLOCK_ROWS):
        block = needles[start : start + BLOCK_ROWS]
        answers = found[start : start + BLOCK_ROWS]
        if np.all(block[1:] >= block[:-1]):
            answers[:] = np.searchsorted(haystack, block, side=side)
        else:
            order = stable_order(block) if block.min() >= 0 else np.argsort(block)
            answers[order] = np.searchsorted(haystack, block[order], side=side)
    return found
