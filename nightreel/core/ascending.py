"""Looks values up in ascending arrays."""

import numpy as np


def indices_in(ascending: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of each value in an ascending array, and whether it is there.

    Returns:
        int64 and bool [values]. The index of a missing value is that of another one, or 0 in an empty array.
    """
    if not len(ascending):
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
    index = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return index, ascending[index] == values
