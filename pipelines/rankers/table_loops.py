"""The inner loops of `pair_forest` that look up, in a table for each user and tree, what the tree adds.

As in `tree_loops`, threads run side by side in them, and each pair's sum is made in the order of the trees.
"""

import numpy as np
from numba import uint32

from nightreel.core.compiled import compiled
from pipelines.rankers.tree_loops import DE_BRUIJN, TOP_BITS

# Videos of a user that go through all trees before the next ones, so that their sums stay in the cache.
_TILE_VIDEOS = 4_096


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
    """Fill the tables of what each tree adds, by class of videos and interval of each pair feature it reads.

    Args:
        users: uint64 [trees, users].
        classes: uint64, masks, tree after tree, from class_starts [trees + 1] on.
        asked, values: as in `add_grid`.
        interval_classes: uint64 [features, trees, classes], masks, of which interval_counts [features, trees]
            count.
        tables: float64 [users, entries], filled in place; a tree's entries begin at table_starts
            [trees + 1]; some trees that read several pair features have none.
    """
    for user in range(tables.shape[0]):
        for tree in range(len(users)):
            if table_starts[tree] == table_starts[tree + 1]:
                continue
            own, said, at = users[tree, user], values[tree], table_starts[tree]
            for index in range(class_starts[tree], class_starts[tree + 1]):
                opened = own & classes[index]
                if asked[tree, 0] == 0:
                    tables[user, at] = said[(opened * DE_BRUIJN) >> TOP_BITS]
                    at += 1
                elif asked[tree, 0] == 1:
                    feature = asked[tree, 1]
                    for interval in range(interval_counts[feature, tree]):
                        leaf = opened & interval_classes[feature, tree, interval]
                        tables[user, at] = said[(leaf * DE_BRUIJN) >> TOP_BITS]
                        at += 1
                else:
                    outer, inner = asked[tree, 1], asked[tree, 2]
                    for interval in range(interval_counts[outer, tree]):
                        left = opened & interval_classes[outer, tree, interval]
                        for other in range(interval_counts[inner, tree]):
                            leaf = left & interval_classes[inner, tree, other]
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
    """Add the values of all trees for some users with all videos to `total`.

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
            tree = 0
            while tree < len(users):
                number_of_features = asked[tree, 0]
                if number_of_features < 2 and tree + 1 < len(users) and asked[tree + 1, 0] < 2:
                    # Two additions in order, with one load and one store of each sum.
                    _add_two(
                        out,
                        user,
                        first,
                        tree,
                        class_numbers,
                        table_starts,
                        tables[user],
                        asked,
                        interval_numbers,
                        interval_counts,
                        numbers,
                    )
                    tree += 2
                    continue
                if number_of_features < 2:
                    table = tables[user, table_starts[tree] : table_starts[tree + 1]]
                    own, feature = class_numbers[tree, first:last], asked[tree, 1]
                    number = numbers[feature, user, first:last]
                    for video in range(len(out)):
                        entry = uint32(own[video])
                        if number_of_features == 1:
                            width = uint32(interval_counts[feature, tree])
                            entry = uint32(entry * width + interval_numbers[feature, tree, number[video]])
                        out[video] += table[entry]
                elif table_starts[tree] < table_starts[tree + 1]:
                    table = tables[user, table_starts[tree] : table_starts[tree + 1]]
                    own, outer, inner = class_numbers[tree, first:last], asked[tree, 1], asked[tree, 2]
                    number, other = numbers[outer, user, first:last], numbers[inner, user, first:last]
                    class_of, class_of_other = interval_numbers[outer, tree], interval_numbers[inner, tree]
                    width = uint32(interval_counts[outer, tree])
                    width_of_other = uint32(interval_counts[inner, tree])
                    for video in range(len(out)):
                        entry = uint32(uint32(own[video]) * width + class_of[number[video]])
                        entry = uint32(entry * width_of_other + class_of_other[other[video]])
                        out[video] += table[entry]
                else:
                    for video in range(len(out)):
                        leaf = users[tree, user] & videos[tree, first + video]
                        for n in range(asked[tree, 0]):
                            feature = asked[tree, 1 + n]
                            leaf &= intervals[feature, tree, numbers[feature, user, first + video]]
                        out[video] += values[tree, (leaf * DE_BRUIJN) >> TOP_BITS]
                tree += 1


@compiled
def _add_two(
    out: np.ndarray,
    user: int,
    first: int,
    tree: int,
    class_numbers: np.ndarray,
    table_starts: np.ndarray,
    table: np.ndarray,
    asked: np.ndarray,
    interval_numbers: np.ndarray,
    interval_counts: np.ndarray,
    numbers: np.ndarray,
) -> None:
    """Add the values of a tree and of the next one, neither of which reads more than one pair feature.

    Arguments that are not listed are as in `add_grid`.

    Args:
        out: float64 [videos], the sums of a user and some videos, changed in place.
        first: the first of these videos.
        table: float64 [entries], the user's row of `tables`.
    """
    last = first + len(out)
    table_a = table[table_starts[tree] : table_starts[tree + 1]]
    table_b = table[table_starts[tree + 1] : table_starts[tree + 2]]
    own_a, own_b = class_numbers[tree, first:last], class_numbers[tree + 1, first:last]
    feature_a, feature_b = asked[tree, 1], asked[tree + 1, 1]
    number_a, number_b = numbers[feature_a, user, first:last], numbers[feature_b, user, first:last]
    class_a, class_b = interval_numbers[feature_a, tree], interval_numbers[feature_b, tree + 1]
    width_a = uint32(interval_counts[feature_a, tree])
    width_b = uint32(interval_counts[feature_b, tree + 1])
    if asked[tree, 0] == 0 and asked[tree + 1, 0] == 0:
        for video in range(len(out)):
            out[video] = (out[video] + table_a[own_a[video]]) + table_b[own_b[video]]
    elif asked[tree, 0] == 0:
        for video in range(len(out)):
            entry_b = uint32(uint32(own_b[video]) * width_b + class_b[number_b[video]])
            out[video] = (out[video] + table_a[own_a[video]]) + table_b[entry_b]
    elif asked[tree + 1, 0] == 0:
        for video in range(len(out)):
            entry_a = uint32(uint32(own_a[video]) * width_a + class_a[number_a[video]])
            out[video] = (out[video] + table_a[entry_a]) + table_b[own_b[video]]
    else:
        for video in range(len(out)):
            entry_a = uint32(uint32(own_a[video]) * width_a + class_a[number_a[video]])
            entry_b = uint32(uint32(own_b[video]) * width_b + class_b[number_b[video]])
            out[video] = (out[video] + table_a[entry_a]) + table_b[entry_b]


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
    """Add the values of all trees for some pairs, user after user, to `total`.

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
            elif table_starts[tree] < table_starts[tree + 1]:
                outer, inner = asked[tree, 1], asked[tree, 2]
                number = numbers[outer, starts[run] : starts[run + 1]]
                other = numbers[inner, starts[run] : starts[run + 1]]
                class_of, class_of_other = interval_numbers[outer, tree], interval_numbers[inner, tree]
                width = uint32(interval_counts[outer, tree])
                width_of_other = uint32(interval_counts[inner, tree])
                for pair in range(len(out)):
                    entry = uint32(uint32(own[own_video[pair]]) * width + class_of[number[pair]])
                    entry = uint32(entry * width_of_other + class_of_other[other[pair]])
                    out[pair] += table[entry]
            else:
                for pair in range(len(out)):
                    leaf = users[tree, run] & videos[tree, own_video[pair]]
                    for n in range(asked[tree, 0]):
                        feature = asked[tree, 1 + n]
                        leaf &= intervals[feature, tree, numbers[feature, starts[run] + pair]]
                    out[pair] += values[tree, (leaf * DE_BRUIJN) >> TOP_BITS]
