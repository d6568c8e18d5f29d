"""The inner loops of `pair_forest` and `row_forest`, compiled by numba.

Threads run side by side in them. Each pair's sum is made in the order of the trees, one addition after the
other, so every processor gives the same bits.
"""

import numpy as np
from numba import uint32

from nightreel.core.compiled import compiled

# The top six bits of a power of two times this number identify the power: a de Bruijn sequence.
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
TOP_BITS = np.uint64(58)
# Pairs that go through all trees before the next ones: their sums stay in the cache, and a tree's masks of
# the videos are read once for many pairs.
_TILE_PAIRS = 32_768
_TILE_ROWS = 256
# Up to this many borders are compared with a value one by one.
_FEW_BORDERS = 4


@compiled
def cells(values: np.ndarray, low: float, scale: float, count: int, out: np.ndarray) -> None:
    """The cell of each value, for cells of one width side by side; ascending with the value.

    Args:
        values: float64, none of them NaN.
        low: where the first cell begins; smaller values are in it too, and large ones in the last.
        scale: cells per unit.
        out: int64 [values].
    """
    for at in range(len(values)):
        out[at] = int(min(max((values[at] - low) * scale, 0.0), count - 1.0))


@compiled
def interval_numbers(
    borders: np.ndarray, before: np.ndarray, low: float, scale: float, values: np.ndarray, out: np.ndarray
) -> None:
    """The interval of each value: how many borders are below it, and for NaN one more than there are borders.

    Few borders are in the cell of a value, so a step or two from those before it are enough.

    Args:
        borders: float64, ascending.
        before: int64 [cells], how many borders are in the cells before each.
        low, scale: of `cells`.
        values: float32 [values].
        out: uint32 [values].
    """
    last = len(before) - 1.0
    if len(borders) <= _FEW_BORDERS:
        for at in range(len(values)):
            value, found = np.float64(values[at]), uint32(0)
            for border in borders:
                found += uint32(border < value)
            out[at] = len(borders) + 1 if np.isnan(value) else found
        return
    for at in range(len(values)):
        value = np.float64(values[at])
        if np.isnan(value):
            out[at] = len(borders) + 1
            continue
        found = before[int(min(max((value - low) * scale, 0.0), last))]
        while found < len(borders) and borders[found] < value:
            found += 1
        out[at] = found


@compiled
def add_pairs(
    users: np.ndarray,
    user: np.ndarray,
    videos: np.ndarray,
    video: np.ndarray,
    asked: np.ndarray,
    intervals: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the values of all trees for some pairs to `total`.

    Arguments that are not listed are as in `table_loops.add_grid`.

    Args:
        user, video: uint32 [pairs], each pair's column in `users` and `videos`.
        numbers: uint32 [features, pairs].
        total: float64 [pairs], changed in place.
    """
    for first in range(0, len(total), _TILE_PAIRS):
        last = min(first + _TILE_PAIRS, len(total))
        for tree in range(len(users)):
            of_users, of_videos, said = users[tree], videos[tree], values[tree]
            if asked[tree, 0] == 0:
                for pair in range(first, last):
                    leaf = of_users[user[pair]] & of_videos[video[pair]]
                    total[pair] += said[(leaf * DE_BRUIJN) >> TOP_BITS]
            else:
                of_first, number = intervals[asked[tree, 1], tree], numbers[asked[tree, 1]]
                for pair in range(first, last):
                    leaf = of_users[user[pair]] & of_videos[video[pair]] & of_first[number[pair]]
                    for n in range(1, asked[tree, 0]):
                        feature = asked[tree, 1 + n]
                        leaf &= intervals[feature, tree, numbers[feature, pair]]
                    total[pair] += said[(leaf * DE_BRUIJN) >> TOP_BITS]


@compiled
def add_rows(
    rows: np.ndarray,
    starts: np.ndarray,
    features: np.ndarray,
    thresholds: np.ndarray,
    sets: np.ndarray,
    categories: np.ndarray,
    unknown_left: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    values: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the values of all trees for rows to `total`.

    Arguments that are not listed are the attributes of `RowForest`.

    Args:
        rows: float32 [rows, features].
        total: float64 [rows], changed in place.
    """
    tile = np.empty((rows.shape[1], _TILE_ROWS), dtype=np.float32)
    opened = np.empty(_TILE_ROWS, dtype=left.dtype)
    for first in range(0, len(rows), _TILE_ROWS):
        count = min(_TILE_ROWS, len(rows) - first)
        for row in range(count):
            for feature in range(rows.shape[1]):
                tile[feature, row] = rows[first + row, feature]
        for tree in range(len(starts) - 1):
            # All 64 bits; the first node clears those without a leaf.
            opened[:] = ~left.dtype.type(0) if starts[tree + 1] > starts[tree] else left.dtype.type(1)
            for node in range(starts[tree], starts[tree + 1]):
                column, threshold = tile[features[node]], thresholds[node]
                if_left, if_right = left[node], right[node]
                if sets[node] >= 0:
                    goes_left = categories[sets[node]]
                    beyond = len(goes_left) - 1
                    for row in range(count):
                        value = column[row]
                        code = int(value) if value >= 0 and value < beyond else beyond
                        opened[row] &= if_left if goes_left[code] else if_right
                elif unknown_left[node]:
                    for row in range(_TILE_ROWS):
                        opened[row] &= if_right if column[row] > threshold else if_left
                else:
                    for row in range(_TILE_ROWS):
                        opened[row] &= if_left if column[row] <= threshold else if_right
            said = values[tree]
            for row in range(count):
                total[first + row] += said[(np.uint64(opened[row]) * DE_BRUIJN) >> TOP_BITS]
