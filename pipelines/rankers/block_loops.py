"""The inner loop of `block_forest`: looks up the values of some trees for all videos of a user."""

import numpy as np

from nightreel.core.compiled import compiled

_LOW, _TREE = np.uint64(0xFFFF), np.uint64(16)  # of a word, the bits of one tree


@compiled
def add_block(
    of_videos: np.ndarray,
    of_intervals: np.ndarray,
    of_groups: np.ndarray,
    group: np.ndarray,
    numbers: np.ndarray,
    tables: np.ndarray,
    begin: int,
    end: int,
    total: np.ndarray,
) -> None:
    """Add the values of a block's trees for some users with all videos to `total`, in the order of the trees.

    A word has the offsets of four trees, 16 bits each, of which no sum overflows. Three videos are processed
    at once, because each addition waits for the one before it.

    Args:
        of_videos: uint64 [videos, words].
        of_intervals: uint64 [intervals, words], of als_score.
        of_groups: uint64 [users, groups, words].
        group: uint32 [videos], the group of each.
        numbers: uint32 [users, videos], the interval of each als_score.
        tables: float64 [users, entries], contiguous: with rows that are part of a wider array each look-up
            takes a multiplication more.
        begin, end: which entries are those of the block's trees.
        total: float64 [users, videos], changed in place.
    """
    words, videos = of_videos.shape[1], total.shape[1]
    for user in range(total.shape[0]):
        table, of_user = tables[user, begin:end], numbers[user]
        for a in range(0, videos, 3):
            # The last video is processed several times where their number is not a multiple of three.
            b, c = min(a + 1, videos - 1), min(a + 2, videos - 1)
            sum_a, sum_b, sum_c = total[user, a], total[user, b], total[user, c]
            for word in range(words):
                at_a = of_videos[a, word] + of_intervals[of_user[a], word]
                at_b = of_videos[b, word] + of_intervals[of_user[b], word]
                at_c = of_videos[c, word] + of_intervals[of_user[c], word]
                at_a += of_groups[user, group[a], word]
                at_b += of_groups[user, group[b], word]
                at_c += of_groups[user, group[c], word]
                for _ in range(4):
                    sum_a += table[at_a & _LOW]
                    sum_b += table[at_b & _LOW]
                    sum_c += table[at_c & _LOW]
                    at_a >>= _TREE
                    at_b >>= _TREE
                    at_c >>= _TREE
            total[user, a], total[user, b], total[user, c] = sum_a, sum_b, sum_c
