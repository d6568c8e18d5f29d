"""A bit for each pair of a user and a video, a row per user: uint8 [users, videos / 8].

The order of bits is that of `np.packbits`: the first of eight videos is the highest bit.
"""

import numpy as np


def bits_at(bits: np.ndarray, *positions: np.ndarray) -> np.ndarray:
    """The bits of some videos, 0 or 1: uint8.

    Args:
        bits: of one user, or with a row for each of several.
        positions: the indices of the videos; if `bits` has rows, those of the rows come first.
    """
    *rows, video = positions
    found: np.ndarray = (bits[(*rows, video >> 3)] >> (7 - (video & 7)).astype(np.uint8)) & 1
    return found


def bits_set(bits: np.ndarray) -> np.ndarray:
    """Number of bits set in a row, or in each row: int64 [rows]."""
    found: np.ndarray = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return found
