"""The inner loops of `likeliest`: bounds of what trees can add, and sums that are given up early."""

import numpy as np

from nightreel.core.compiled import compiled
from pipelines.rankers.best_raw import is_open

_LOW, _TREE = np.uint64(0xFFFF), np.uint64(16)  # of a word, the bits of one tree


@compiled
def raise_bounds(
    tables: np.ndarray,
    table_starts: np.ndarray,
    class_starts: np.ndarray,
    class_shares: np.ndarray,
    usual: np.ndarray,
    most: np.ndarray,
) -> None:
    """For some users, split what each tree adds into what is usual for the user, and the most beyond that.

    Args:
        tables: float64 [users, entries + 1]; a tree's entries begin at table_starts [trees + 1], equally many
            for each class of videos.
        class_starts: int64 [trees + 1], where the classes of each tree begin.
        class_shares: float64 [classes], the share of the videos that are of each.
        usual: float64 [users, trees], filled in place: the mean over videos of the largest value.
        most: float64 [entries + 1], filled in place: at each class's first entry, the largest value of any of
            these users less what is usual.
    """
    largest = np.empty(np.max(np.diff(class_starts)))
    for tree in range(len(table_starts) - 1):
        first, classes = table_starts[tree], class_starts[tree + 1] - class_starts[tree]
        shares = class_shares[class_starts[tree] : class_starts[tree + 1]]
        width = (table_starts[tree + 1] - first) // classes
        for user in range(len(tables)):
            mean = 0.0
            for one in range(classes):
                start = first + one * width
                value = tables[user, start]
                for entry in range(start + 1, start + width):
                    value = max(value, tables[user, entry])
                largest[one] = value
                mean += value * shares[one]
            usual[user, tree] = mean
            for one in range(classes):
                beyond = largest[one] - mean
                at = first + one * width
                most[at] = beyond if user == 0 else max(most[at], beyond)


@compiled
def bound_videos(
    of_videos: np.ndarray,
    word_starts: np.ndarray,
    stages: np.ndarray,
    most: np.ndarray,
    bounds: np.ndarray,
) -> None:
    """What the trees from each stage on can add for each video, beyond what is usual for a user.

    Args:
        of_videos, word_starts, stages: as in `add_listed`.
        most: from `raise_bounds`.
        bounds: float64 [stages + 1, rows], filled in place; after the last stage nothing is added.
    """
    videos = bounds.shape[1]
    bounds[-1] = 0.0
    for stage in range(len(stages) - 2, -1, -1):
        first, words = stages[stage], stages[stage + 1] - stages[stage]
        own, later, found = of_videos[videos * first :], bounds[stage + 1], bounds[stage]
        for a in range(0, videos, 2):
            b = min(a + 1, videos - 1)
            sum_a, sum_b = later[a], later[b]
            for word in range(words):
                table = most[word_starts[first + word] :]
                at_a, at_b = own[a * words + word], own[b * words + word]
                for _ in range(4):
                    sum_a += table[at_a & _LOW]
                    sum_b += table[at_b & _LOW]
                    at_a >>= _TREE
                    at_b >>= _TREE
            found[a], found[b] = sum_a, sum_b


@compiled
def first_open(rows: np.ndarray, order: np.ndarray, closed: np.ndarray, most: int) -> np.ndarray:
    """The first `most` of these rows whose videos are open: int64.

    Args:
        order: int64 [rows], the video of each.
    """
    found, size = np.empty(most, dtype=np.int64), 0
    for row in rows:
        if size == most:
            break
        if is_open(closed, order[row]):
            found[size] = row
            size += 1
    return found[:size]


@compiled
def others_above(
    bound: np.ndarray, limit: float, order: np.ndarray, closed: np.ndarray, besides: np.ndarray
) -> np.ndarray:
    """The rows of open videos whose bound reaches a limit, ascending: int64.

    Args:
        bound: float64 [rows].
        order: int64 [rows], the video of each.
        besides: int64, ascending, rows that are left out.
    """
    found, size, left_out = np.empty(len(bound), dtype=np.int64), 0, 0
    for row in range(len(bound)):
        if left_out < len(besides) and besides[left_out] == row:
            left_out += 1
        elif bound[row] >= limit and is_open(closed, order[row]):
            found[size] = row
            size += 1
    return found[:size]


@compiled
def add_listed(
    of_videos: np.ndarray,
    of_intervals: np.ndarray,
    of_groups: np.ndarray,
    word_starts: np.ndarray,
    stages: np.ndarray,
    group: np.ndarray,
    table: np.ndarray,
    bounds: np.ndarray,
    limits: np.ndarray,
    video: np.ndarray,
    number: np.ndarray,
    kept: np.ndarray,
    total: np.ndarray,
) -> int:
    """Add the values of all trees for a user with some videos, without those that cannot reach a limit.

    Each video's sum is made in the order of the trees. As in `add_block`, three are processed at once.

    Args:
        of_videos: uint64, of each stage [rows, words of the stage], one after the other: offsets into a
            word's entries, of four trees. Most videos are given up early, so what the first stages read
            stays in the cache.
        of_intervals: uint64 [intervals, words], of als_score.
        of_groups: uint64 [groups, words], of the other pair feature.
        word_starts: int64 [words], where the entries of each begin.
        stages: int64 [stages + 1], ascending, from 0: the first word of each, and the number of all.
        group: uint32 [rows], the group of each one's video.
        table: float64 [entries + 1], the user's.
        bounds: float64 [stages + 1, rows], from `bound_videos`.
        limits: float64 [stages]: what the sum so far and the bound must reach at each stage.
        video: int64 [listed], the row of each.
        number: uint32 [listed], the interval of each als_score.
        kept: int64 [listed], filled in place with the positions of those that are left.
        total: float64 [listed], filled in place with their sums.

    Returns:
        How many are left.
    """
    videos, left = bounds.shape[1], len(video)
    for one in range(left):
        kept[one], total[one] = one, 0.0
    for stage in range(len(stages) - 1):
        first, words = stages[stage], stages[stage + 1] - stages[stage]
        of_stage = of_videos[videos * first :]
        if stage:
            count, left = left, 0
            for one in range(count):
                if total[one] + bounds[stage, video[kept[one]]] >= limits[stage]:
                    kept[left], total[left] = kept[one], total[one]
                    left += 1
        for a in range(0, left, 3):
            b, c = min(a + 1, left - 1), min(a + 2, left - 1)
            video_a, video_b, video_c = video[kept[a]], video[kept[b]], video[kept[c]]
            number_a, number_b, number_c = number[kept[a]], number[kept[b]], number[kept[c]]
            group_a, group_b, group_c = group[video_a], group[video_b], group[video_c]
            sum_a, sum_b, sum_c = total[a], total[b], total[c]
            row_a, row_b, row_c = video_a * words - first, video_b * words - first, video_c * words - first
            for word in range(first, first + words):
                own = table[word_starts[word] :]
                at_a = of_stage[row_a + word] + of_intervals[number_a, word]
                at_b = of_stage[row_b + word] + of_intervals[number_b, word]
                at_c = of_stage[row_c + word] + of_intervals[number_c, word]
                at_a += of_groups[group_a, word]
                at_b += of_groups[group_b, word]
                at_c += of_groups[group_c, word]
                for _ in range(4):
                    sum_a += own[at_a & _LOW]
                    sum_b += own[at_b & _LOW]
                    sum_c += own[at_c & _LOW]
                    at_a >>= _TREE
                    at_b >>= _TREE
                    at_c >>= _TREE
            total[a], total[b], total[c] = sum_a, sum_b, sum_c
    return left
