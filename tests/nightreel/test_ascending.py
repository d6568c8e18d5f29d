"""Values are looked up in ascending arrays, missing ones too."""

import numpy as np

from nightreel.core.ascending import indices_in


def test_a_value_that_is_missing_is_said_to_be() -> None:
    index, is_there = indices_in(np.array([2, 4, 9]), np.array([9, 1, 4, 5, 10]))
    assert is_there.tolist() == [True, False, True, False, False]
    assert index[is_there].tolist() == [2, 1]
    assert ((index >= 0) & (index < 3)).all()


def test_nothing_is_in_an_empty_array() -> None:
    index, is_there = indices_in(np.array([], dtype=np.int64), np.array([3, 7]))
    assert index.tolist() == [0, 0] and not is_there.any()
