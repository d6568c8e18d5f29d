"""The loops over bits of pairs. `pair_bits`, which only reads them, needs no numba, slow to import."""

import numpy as np

from nightreel.core.compiled import compiled

# The first bit that is set in each byte, counted from the highest; 8 if there is none.
_FIRST_SET = np.array([8 - value.bit_length() for value in range(256)], dtype=np.uint8)


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


@compiled
def moved_bits(bits: np.ndarray, position: np.ndarray, width: int) -> np.ndarray:
    """The same rows, with the bits in another order.

    Args:
        bits: uint8 [rows, videos / 8].
        position: int64 [videos], where each video's bit goes; negative for one that is left out.
        width: bytes of a row that is returned.

    Returns:
        uint8 [rows, width].
    """
    found = np.zeros((len(bits), width), dtype=np.uint8)
    for row in range(len(bits)):
        for byte in range(bits.shape[1]):
            value = bits[row, byte]
            while value:
                first = _FIRST_SET[value]
                value ^= np.uint8(128 >> first)
                to = position[(byte << 3) + first]
                if to >= 0:
                    found[row, to >> 3] |= np.uint8(128 >> (to & 7))
    return found
