"""The inner loop of `block_forest`: looks up the values of some trees for all videos of a user."""

import numpy as np
from numba import uint64

from nightreel.core.compiled import compiled

_LOW = np.uint64(0xFFFF)
# Videos whose offsets are read for one user after another, so that they stay in the cache.
_TILE_VIDEOS = 2_048


@compiled
def add_block(
    of_videos: np.ndarray,
    of_intervals: np.ndarray,
    of_groups: np.ndarray,
    group: np.ndarray,
    numbers: np.ndarray,
    tables: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the values of a block's trees for some users with all videos to `total`, in the order of the trees.

    A word has the offsets of four trees, 16 bits each, of which no sum overflows. Two videos are processed at
    once, because each addition waits for the one before it.

    Args:
        of_videos: uint64 [videos, words].
        of_intervals: uint64 [intervals, words], of als_score.
        of_groups: uint64 [users, groups, words].
        group: uint32 [videos], the group of each.
        numbers: uint32 [users, videos], the interval of each als_score.
        tables: float64 [users, entries], what the block's trees add.
        total: float64 [users, videos], changed in place.
    """
    words, videos = of_videos.shape[1], total.shape[1]
    for start in range(0, videos, _TILE_VIDEOS):
        stop = min(start + _TILE_VIDEOS, videos)
        for user in range(total.shape[0]):
            table = tables[user]
            for first in range(start, stop, 2):
                # With an odd number of videos, the last one is processed twice.
                second = min(first + 1, stop - 1)
                its_interval, other_interval = numbers[user, first], numbers[user, second]
                its_group, other_group = group[first], group[second]
                its_sum, other_sum = total[user, first], total[user, second]
                for word in range(words):
                    its = of_videos[first, word] + of_intervals[its_interval, word]
                    its += of_groups[user, its_group, word]
                    other = of_videos[second, word] + of_intervals[other_interval, word]
                    other += of_groups[user, other_group, word]
                    its_sum += table[its & _LOW]
                    other_sum += table[other & _LOW]
                    its_sum += table[(its >> uint64(16)) & _LOW]
                    other_sum += table[(other >> uint64(16)) & _LOW]
                    its_sum += table[(its >> uint64(32)) & _LOW]
                    other_sum += table[(other >> uint64(32)) & _LOW]
                    its_sum += table[its >> uint64(48)]
                    other_sum += table[other >> uint64(48)]
                total[user, first], total[user, second] = its_sum, other_sum
