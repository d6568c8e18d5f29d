"""The loop that sets bits of pairs. `pair_bits`, which only reads them, needs no numba, slow to import."""

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
