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
# Videos of a user, and pairs, that are carried through all trees before the next ones: their sums stay near
# the processor, and of pairs, what a tree says of the videos is read once for many.
_TILE_VIDEOS, _TILE_PAIRS = 2_048, 32_768
_TILE_ROWS = 256
# So few borders are compared with a value one by one.
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

    Few borders lie in the cell of a value, so that a step or two from those before it are enough.

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
def fill_tables(
    users: np.ndarray,
    classes: np.ndarray,
    class_starts: np.ndarray,
    asked: np.ndarray,
    interval_classes: np.ndarray,
    interval_counts: np.ndarray,
    values: np.ndarray,
    table_starts: np.ndarray,
    tables: np.ndarray,
) -> None:
    """Fill the tables of what each tree adds, by class of videos and, if it reads one pair feature, interval.

    Args:
        users: uint64 [trees, users].
        classes: uint64, masks, tree after tree, from class_starts [trees + 1] on.
        asked, values: as in `add_grid`.
        interval_classes: uint64 [features, trees, classes], masks, of which interval_counts [features, trees]
            count.
        tables: float64 [users, entries], filled in place; a tree's entries begin at table_starts
            [trees + 1], and a tree that reads several pair features has none.
    """
    for user in range(tables.shape[0]):
        for tree in range(len(users)):
            if asked[tree, 0] > 1:
                continue
            own, said, at = users[tree, user], values[tree], table_starts[tree]
            for index in range(class_starts[tree], class_starts[tree + 1]):
                opened = own & classes[index]
                if asked[tree, 0] == 0:
                    tables[user, at] = said[(opened * DE_BRUIJN) >> TOP_BITS]
                    at += 1
                else:
                    feature = asked[tree, 1]
                    for interval in range(interval_counts[feature, tree]):
                        leaf = opened & interval_classes[feature, tree, interval]
                        tables[user, at] = said[(leaf * DE_BRUIJN) >> TOP_BITS]
                        at += 1


@compiled
def add_grid(
    users: np.ndarray,
    videos: np.ndarray,
    class_numbers: np.ndarray,
    table_starts: np.ndarray,
    tables: np.ndarray,
    asked: np.ndarray,
    intervals: np.ndarray,
    interval_numbers: np.ndarray,
    interval_counts: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add what all trees say of some users with all videos to `total`.

    Args:
        users: uint64 [trees, users].
        videos: uint64 [trees, videos], masks of the leaves that remain possible.
        class_numbers: uint16 or uint32 [trees, videos], the class of each video.
        table_starts, tables: from `fill_tables`.
        asked: int64 [trees, 1 + features]: how many pair features a tree reads, and which.
        intervals: uint64 [features, trees, intervals], masks of the leaves that remain possible.
        interval_numbers: uint32, the same shape, the class of each interval.
        interval_counts: int64 [features, trees], how many classes there are.
        numbers: uint32 [features, users, videos], the interval of each value.
        values: float64 [trees, 64], what each leaf adds, by the top bits of its mask.
        total: float64 [users, videos], changed in place.
    """
    for user in range(total.shape[0]):
        for first in range(0, total.shape[1], _TILE_VIDEOS):
            last = min(first + _TILE_VIDEOS, total.shape[1])
            out = total[user, first:last]
            for tree in range(len(users)):
                table = tables[user, table_starts[tree] : table_starts[tree + 1]]
                own = class_numbers[tree, first:last]
                if asked[tree, 0] == 0:
                    for video in range(len(out)):
                        out[video] += table[own[video]]
                elif asked[tree, 0] == 1:
                    feature = asked[tree, 1]
                    number = numbers[feature, user, first:last]
                    class_of, width = interval_numbers[feature, tree], uint32(interval_counts[feature, tree])
                    for video in range(len(out)):
                        out[video] += table[uint32(uint32(own[video]) * width + class_of[number[video]])]
                else:
                    for video in range(len(out)):
                        leaf = users[tree, user] & videos[tree, first + video]
                        for n in range(asked[tree, 0]):
                            feature = asked[tree, 1 + n]
                            leaf &= intervals[feature, tree, numbers[feature, user, first + video]]
                        out[video] += values[tree, (leaf * DE_BRUIJN) >> TOP_BITS]


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
    """Add what all trees say of some pairs to `total`.

    Arguments that are not listed are as in `add_grid`.

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
def add_runs(
    users: np.ndarray,
    starts: np.ndarray,
    videos: np.ndarray,
    video: np.ndarray,
    class_numbers: np.ndarray,
    table_starts: np.ndarray,
    tables: np.ndarray,
    asked: np.ndarray,
    intervals: np.ndarray,
    interval_numbers: np.ndarray,
    interval_counts: np.ndarray,
    numbers: np.ndarray,
    values: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add what all trees say of some pairs, user after user, to `total`.

    Arguments that are not listed are as in `add_grid`.

    Args:
        users: uint64 [trees, runs], of the user of each run.
        starts: int64 [runs + 1], where each user's pairs begin.
        video: uint32 [pairs], each pair's column in `videos`.
        tables: from `fill_tables` for these users.
        numbers: uint32 [features, pairs].
        total: float64 [pairs], changed in place.
    """
    for run in range(len(starts) - 1):
        own_video, out = video[starts[run] : starts[run + 1]], total[starts[run] : starts[run + 1]]
        for tree in range(len(users)):
            table = tables[run, table_starts[tree] : table_starts[tree + 1]]
            own = class_numbers[tree]
            if asked[tree, 0] == 0:
                for pair in range(len(out)):
                    out[pair] += table[own[own_video[pair]]]
            elif asked[tree, 0] == 1:
                feature = asked[tree, 1]
                number = numbers[feature, starts[run] : starts[run + 1]]
                class_of, width = interval_numbers[feature, tree], uint32(interval_counts[feature, tree])
                for pair in range(len(out)):
                    entry = uint32(uint32(own[own_video[pair]]) * width + class_of[number[pair]])
                    out[pair] += table[entry]
            else:
                for pair in range(len(out)):
                    leaf = users[tree, run] & videos[tree, own_video[pair]]
                    for n in range(asked[tree, 0]):
                        feature = asked[tree, 1 + n]
                        leaf &= intervals[feature, tree, numbers[feature, starts[run] + pair]]
                    out[pair] += values[tree, (leaf * DE_BRUIJN) >> TOP_BITS]


@compiled
def add_rows(
    rows: np.ndarray,
    starts: np.ndarray,
    features: np.ndarray,
    thresholds: np.ndarray,
    unknown_left: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    values: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add what all trees say of rows to `total`.

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
            # All of them; those that no leaf has are closed by the first node.
            opened[:] = ~left.dtype.type(0) if starts[tree + 1] > starts[tree] else left.dtype.type(1)
            for node in range(starts[tree], starts[tree + 1]):
                column, threshold = tile[features[node]], thresholds[node]
                if_left, if_right = left[node], right[node]
                if unknown_left[node]:
                    for row in range(_TILE_ROWS):
                        opened[row] &= if_right if column[row] > threshold else if_left
                else:
                    for row in range(_TILE_ROWS):
                        opened[row] &= if_left if column[row] <= threshold else if_right
            said = values[tree]
            for row in range(count):
                total[first + row] += said[(np.uint64(opened[row]) * DE_BRUIJN) >> TOP_BITS]
