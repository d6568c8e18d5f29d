"""The trees of a `PairForest` in blocks, for scoring users with all videos.

A tree's value for a user is in the user's table, at an index that is the sum of three offsets: for the video,
for the interval of als_score, and for the interval of the other pair feature, which depends on the user and
the video's group. The offsets of four trees are added at once. It works for pairs with one feature besides
als_score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipelines.rankers.block_loops import add_block

_TREES_A_WORD = 4
_BITS = 16
# This many entries of a user stay in the nearer caches.
_ENTRIES = 8_192
# After so many words, `likeliest` gives up the videos that cannot be among the best any more.
_STAGES = (0, 2, 4, 8, 16)


@dataclass(frozen=True)
class Block:
    """Some consecutive trees.

    Attributes:
        start, stop: of their entries in a user's table.
        of_videos: uint64 [videos, words].
        of_intervals: uint64 [features, intervals, words], of each pair feature.
    """

    start: int
    stop: int
    of_videos: np.ndarray
    of_intervals: np.ndarray


@dataclass(frozen=True)
class Words:
    """All trees of a forest, each word of four with offsets among its own entries.

    Attributes:
        order: int64 [videos], the video of each row.
        of_videos: uint64, of each stage [rows, words of the stage], one after the other.
        of_intervals: uint64 [features, intervals, words].
        starts: int64 [words], where the entries of each begin in a user's table.
        stages: int64 [stages + 1], the first word of each, and the number of all.
    """

    order: np.ndarray
    of_videos: np.ndarray
    of_intervals: np.ndarray
    starts: np.ndarray
    stages: np.ndarray

    @classmethod
    def of(cls, blocks: Sequence[Block], order: np.ndarray) -> "Words":
        """From blocks of a word each, as `blocks_of` makes them with `entries_most` of 0.

        Args:
            order: the attribute; videos that are needed together are best near each other.
        """
        stages = [*(stage for stage in _STAGES if stage < len(blocks)), len(blocks)]
        of_stages = [
            np.concatenate([block.of_videos for block in blocks[first:last]], axis=1)[order].ravel()
            for first, last in pairwise(stages)
        ]
        return cls(
            order,
            np.concatenate(of_stages),
            np.concatenate([block.of_intervals for block in blocks], axis=2),
            np.array([block.start for block in blocks], dtype=np.int64),
            np.array(stages, dtype=np.int64),
        )


def blocks_of(
    starts: np.ndarray,
    class_numbers: np.ndarray,
    asked: np.ndarray,
    interval_numbers: np.ndarray,
    interval_counts: np.ndarray,
    *,
    entries_most: int = _ENTRIES,
) -> tuple[Block, ...] | None:
    """The blocks of a forest; None if a tree has no table, or one that is too large.

    Args:
        starts: int64 [trees + 1], where each tree's entries begin.
        class_numbers: [trees, videos]; asked: [trees, 1 + features]; interval_numbers: [features, trees,
            intervals]; interval_counts: [features, trees], as in `table_loops.add_grid`.
        entries_most: of a block; one of four trees may have more.
    """
    trees, features = len(class_numbers), len(interval_numbers)
    if (np.diff(starts) == 0).any() or np.diff(starts).max() > 2**_BITS // (_TREES_A_WORD + 1):
        return None
    strides = np.ones((features + 1, trees), dtype=np.int64)
    reads = np.zeros((features, trees), dtype=bool)
    for tree, (number, *read) in enumerate(asked.tolist()):
        stride = 1
        for feature in reversed(read[:number]):
            reads[feature, tree] = True
            strides[feature, tree] = stride
            stride *= int(interval_counts[feature, tree])
        strides[-1, tree] = stride
    found = []
    first = 0
    while first < trees:
        last = min(first + _TREES_A_WORD, trees)
        while last < trees and starts[min(last + _TREES_A_WORD, trees)] - starts[first] <= entries_most:
            last = min(last + _TREES_A_WORD, trees)
        own = slice(first, last)
        base = starts[own] - starts[first]
        videos = class_numbers[own].astype(np.int64) * strides[-1, own, None] + base[:, None]
        intervals = interval_numbers[:, own].astype(np.int64) * (strides[:-1, own] * reads[:, own])[..., None]
        # Trees that only fill up the last word add the 0 after the last entry.
        nothing = int(starts[last] - starts[first])
        found.append(
            Block(
                int(starts[first]),
                int(starts[last]) + 1,
                _words(videos, nothing),
                np.array([_words(of_feature, 0) for of_feature in intervals]),
            )
        )
        first = last
    return tuple(found)


def _words(offsets: np.ndarray, filling: int) -> np.ndarray:
    """uint64 [columns, words] of offsets [trees, columns]."""
    trees, width = offsets.shape
    words = -(-trees // _TREES_A_WORD)
    filled = np.full((width, words * _TREES_A_WORD), filling, dtype="<u2")
    filled[:, :trees] = offsets.T
    found: np.ndarray = filled.view("<u8")
    return found


def add_blocks(
    blocks: Sequence[Block],
    tables: np.ndarray,
    *,
    numbers: np.ndarray,
    group: np.ndarray,
    group_numbers: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add the values of all trees for some users with all videos to `total`.

    Args:
        tables: float64 [users, entries + 1], contiguous, the last of them 0.
        numbers: uint32 [users, videos], the interval of each als_score.
        group: uint32 [videos].
        group_numbers: uint32 [users, groups], the interval of the other pair feature.
        total: float64 [users, videos], changed in place.
    """
    for block in blocks:
        of_als, of_groups = block.of_intervals
        add_block(
            block.of_videos,
            of_als,
            of_groups[group_numbers],
            group,
            numbers,
            tables,
            block.start,
            block.stop,
            total,
        )
