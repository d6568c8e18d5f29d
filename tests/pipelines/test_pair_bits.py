"""Bits of pairs have the order of `np.packbits`, and each is new once."""

import numpy as np

from pipelines.pair_bit_loops import set_bits
from pipelines.pair_bits import bits_at, bits_set


def test_bits_that_were_set_are_found_where_packbits_has_them() -> None:
    row, column = np.array([0, 1, 1, 0, 1, 0]), np.array([0, 9, 9, 7, 8, 3])
    is_asked = np.array([True, True, True, True, True, False])
    bits = np.zeros((2, 2), dtype=np.uint8)
    is_new = set_bits(bits, row, column, is_asked)
    assert is_new.tolist() == [True, True, False, True, True, False]
    expected = np.zeros((2, 10), dtype=bool)
    expected[row[is_asked], column[is_asked]] = True
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=10).astype(bool), expected)
    np.testing.assert_array_equal(bits_at(bits, row, column), expected[row, column])
    assert bits_set(bits).tolist() == [2, 2]
