"""Sorting and searching whole numbers in ways that suit a processor's caches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# Values looked up at a time: the temporaries stay small beside the values themselves.
BLOCK_ROWS = 131_072
# A haystack of up to this many values fits into the cache, so needles may come in any order.
CACHED_ROWS = 4_096
# With this many values of one key, a search of its run takes as many steps as a search of all sorted values.
LONG_RUN = 1 << 14


def stable_order(values: Int64Array) -> Int64Array:
    """The order that sorts non-negative values; equal values keep their order.

    NumPy sorts numbers five times as fast as it finds their order. So each row's number is packed below its
    value
    and the whole is sorted: in two passes, low bits first, if both do not fit into 64 bits.
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


def stable_order_of_few(values: Int64Array, size: int) -> Int64Array:
    """The same for values from 0 to `size` only: NumPy sorts 16 bits by counting, in linear time."""
    if size > 1 << 16:
        return stable_order(values)
    return np.argsort(values.astype(np.uint16), kind="stable")


def is_ascending(values: Int64Array) -> bool:
    """Whether no value is below the one before it."""
    return bool(np.all(values[1:] >= values[:-1]))


def distinct(values: Int64Array) -> Int64Array:
    """The distinct values, ascending. NumPy's `unique` hashes, which takes fifty times as long."""
    ordered = values if is_ascending(values) else np.sort(values)
    first = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    found: Int64Array = ordered[first]
    return found


def search(haystack: Int64Array, needles: Int64Array, side: Literal["left", "right"]) -> Int64Array:
    """`np.searchsorted`, with the needles of each block sorted first.

    Unsorted needles miss the cache at every step of every search.
    """
    if len(haystack) <= CACHED_ROWS:
        return np.searchsorted(haystack, needles, side=side)
    found = np.empty(len(needles), dtype=np.int64)
    for start in range(0, len(needles), BLOCK_ROWS):
        block = needles[start : start + BLOCK_ROWS]
        answers = found[start : start + BLOCK_ROWS]
        if is_ascending(block):
            answers[:] = np.searchsorted(haystack, block, side=side)
        else:
            order = stable_order(block) if block.min() >= 0 else np.argsort(block)
            answers[order] = np.searchsorted(haystack, block[order], side=side)
    return found


@dataclass(frozen=True)
class Runs:
    """Where each run of an ascending array is: its non-negative values that differ in their last bits only.

    Attributes:
        starts: int32, index of the first value of each run, or where it would be.
        bits: by which the values of a run may differ.
        longest: largest number of values of a run.
    """

    starts: Int32Array
    bits: int
    longest: int

    @classmethod
    def of(cls, haystack: Int64Array, end: int, bits: int) -> "Runs | None":
        """The runs of values below `end`; None if one is so long that `search` is faster."""
        negative = int(np.searchsorted(haystack, 0))
        sizes = np.bincount(haystack[negative:] >> bits, minlength=(end - 1 >> bits) + 1)
        longest = int(sizes.max(initial=0))
        if longest >= LONG_RUN:
            return None
        starts = np.empty(len(sizes), dtype=np.int32)
        starts[0] = negative
        np.cumsum(sizes[:-1], out=starts[1:])
        starts[1:] += negative
        return cls(starts, bits, longest)

    def last(self, haystack: Int64Array, needles: Int64Array) -> Int64Array:
        """Index of the last value at or below each needle; -1 or another key's value if there is none.

        One binary search for all needles at once, each within its run: a few steps in nearby memory.
        """
        found = self.starts.take(needles >> self.bits).astype(np.int64)
        found -= 1
        step = 1 << (self.longest.bit_length() - 1) if self.longest else 0
        while step:
            # Past the end, the last value is asked again: it belongs to the last run.
            found += step * (haystack.take(found + step, mode="clip") <= needles)
            step >>= 1
        return np.minimum(found, len(haystack) - 1)
