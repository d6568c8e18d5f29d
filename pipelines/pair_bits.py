"""A bit for each pair of a user and a video, a row per user: uint8 [users, videos / 8].

The order of bits is that of `np.packbits`: the first of eight videos is the highest bit.
"""

import numpy as np

from nightreel.core.compiled import compiled


@compiled
def set_bits(bits: np.ndarray, row: np.ndarray, column: np.ndarray, is_asked: np.ndarray) -> np.ndarray:
    """Set the bit of each pair that is asked for, in order.

    Args:
        bits: changed in place.
        row, column: int [pairs].
        is_asked: bool [pairs].

    Returns:
        Whether the pair is asked for and its bit was not set before: bool [pairs].
    """
    is_new = np.zeros(len(row), dtype=np.bool_)
    for pair in range(len(row)):
        if is_asked[pair]:
            byte, bit = column[pair] >> 3, np.uint8(128 >> (column[pair] & 7))
            known = bits[row[pair], byte]
            is_new[pair] = not known & bit
            bits[row[pair], byte] = known | bit
    return is_new


def bits_at(bits: np.ndarray, *positions: np.ndarray) -> np.ndarray:
    """Bits at these indices, 0 or 1: uint8. `positions`: indices of videos, after those of rows, if any."""
    *rows, video = positions
    found: np.ndarray = (bits[(*rows, video >> 3)] >> (7 - (video & 7)).astype(np.uint8)) & 1
    return found


def bits_set(bits: np.ndarray) -> np.ndarray:
    """Number of bits set in a row, or in each row: int64 [rows]."""
    found: np.ndarray = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return found
