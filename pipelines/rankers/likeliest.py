"""Finds the videos that a forest scores highest for users, without adding up all trees for all videos.

What the trees that are left can still add tells early which videos cannot be among the best. For some users
together, each tree is bounded by its largest value for the class of a video, beyond what is usual for a user.
The videos of the highest bounds are scored first. The last of the best among them is a limit, and a video
that cannot reach it is given up, before the first tree or after some. Each sum that is left is the one that
`PairForest.catalogue` makes, to the last bit.

Bounds instead of scores: Broder et al., Efficient Query Evaluation using a Two-Level Retrieval Process (CIKM
2003). What it saves: docs/decisions/savings.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipelines.rankers.best_raw import MARGIN, MOST
from pipelines.rankers.block_forest import Words
from pipelines.rankers.bound_loops import add_listed, bound_videos, first_open, others_above, raise_bounds
from pipelines.rankers.pair_forest import PairForest

# Users whose bounds are computed together: with fewer, bounds are tighter, but computed more often.
_USERS = 16
# For each video to be found, how many are scored first, and how many of the highest bounds these come from.
_FIRST, _HEAD = 1.5, 4
# Of the largest possible sum: far more than rounding can change a sum or a bound by.
_ROUNDING = 1e-9


def can_be_bounded(forest: PairForest, keep: int) -> bool:
    """Whether `best_of_users` can be called; it can save nothing if most videos are kept."""
    return forest.videos.shape[1] > _HEAD * keep and forest.words is not None


def best_of_users(
    forest: PairForest, leaves: np.ndarray, users: np.ndarray, closed: np.ndarray, keep: int
) -> Iterator[tuple[slice, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """For each user, few videos among which the `keep` of highest probability are, with all that tie.

    Args:
        leaves: uint64 [trees, users], from `PairForest.of_users`.
        users: int64 [users], positions in `joined`.
        closed: uint8 [users, videos / 8], a bit for each video that may not be listed, as np.packbits orders
            them.
        keep: at least 1.

    Yields:
        Which of the users; and for each the videos, int64, ascending; their als_score, float32; and their raw
        score, float64.
    """
    assert forest.words is not None
    for start in range(0, len(users), _USERS):
        part = slice(start, min(start + _USERS, len(users)))
        bounded = _BoundedUsers.of(forest, forest.words, leaves[:, part], users[part], keep)
        yield part, [bounded.best(row, closed[start + row], keep) for row in range(part.stop - start)]


@dataclass(frozen=True)
class _BoundedUsers:
    """Some users, with what the forest's trees can add for each video.

    Attributes:
        users: int64 [users], positions in `joined`.
        tables: float64 [users, entries + 1], the last of them 0.
        group: uint32 [rows], the group of each one's video.
        als: float32 [users, videos].
        of_groups: uint64 [users, groups, words], offsets by the video's group.
        bounds: float64 [stages + 1, rows of `words`], the most that the trees from each stage on can add
            beyond `usual`.
        usual: float64 [users, stages + 1].
        head: int64, the rows of the highest bounds, highest first.
        rounding: how far sums and bounds may differ from exact ones.
    """

    forest: PairForest
    words: Words
    users: np.ndarray
    group: np.ndarray
    tables: np.ndarray
    als: np.ndarray
    of_groups: np.ndarray
    bounds: np.ndarray
    usual: np.ndarray
    head: np.ndarray
    rounding: float

    @classmethod
    def of(
        cls, forest: PairForest, words: Words, leaves: np.ndarray, users: np.ndarray, keep: int
    ) -> "_BoundedUsers":
        (table,), classes = forest.joined.pairs, forest.classes
        (values,) = table.by_group(users)
        of_groups = np.empty(values.shape, dtype=np.uint32)
        forest.of_pairs.borders[1].intervals(values, of_groups)
        videos = forest.videos.shape[1]
        starts = forest.table_starts(videos)
        tables = forest.tables(leaves, starts, more=1)
        usual, most = np.empty((len(users), len(forest.trees))), np.zeros(tables.shape[1])
        raise_bounds(tables, starts, classes.starts, forest.class_shares, usual, most)
        stages = words.stages
        bounds = np.empty((len(stages), videos))
        bound_videos(words.of_videos, words.starts, stages, most, bounds)
        als = forest.joined.als_grid(users)
        head = np.argpartition(-bounds[0], _HEAD * keep)[: _HEAD * keep]
        return cls(
            forest,
            words,
            users,
            table.of_video[words.order].astype(np.uint32),
            tables,
            als,
            words.of_intervals[1][of_groups],
            bounds,
            np.stack([usual[:, 4 * stage :].sum(axis=1) for stage in stages.tolist()], axis=1),
            head[np.argsort(-bounds[0, head])],
            _ROUNDING * float(np.abs(forest.values).max(axis=1).sum()),
        )

    def best(self, user: int, closed: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `best_of_users` yields for one of these users."""
        words = self.words
        first = np.sort(first_open(self.head, words.order, closed, int(_FIRST * keep)))
        videos, als, raw = self._scored(user, first, -np.inf)
        limit = -np.inf
        if len(first) >= keep:
            limit = np.partition(raw, len(raw) - keep)[len(raw) - keep]
        # Probabilities near 1 do not differ any more.
        limit = limit - MARGIN if limit < MOST else -np.inf
        bound = limit - self.usual[user, 0] - self.rounding
        above = others_above(self.bounds[0], bound, words.order, closed, first)
        others = self._scored(user, above, limit)
        videos, als, raw = (np.concatenate(parts) for parts in zip((videos, als, raw), others, strict=True))
        order = np.flatnonzero(raw >= limit)
        order = order[np.argsort(videos[order])]
        return videos[order], als[order], raw[order]

    def _scored(self, user: int, rows: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the videos of these rows those whose score may reach a limit, their als_score and raw score."""
        words = self.words
        videos = words.order[rows]
        als = self.als[user, videos]
        number = np.empty(len(videos), dtype=np.uint32)
        self.forest.of_pairs.borders[0].intervals(als, number)
        kept, total = np.empty(len(videos), dtype=np.int64), np.empty(len(videos))
        left = add_listed(
            words.of_videos,
            words.of_intervals[0],
            self.of_groups[user],
            words.starts,
            words.stages,
            self.group,
            self.tables[user],
            self.bounds,
            limit - self.usual[user] - self.rounding,
            rows,
            number,
            kept,
            total,
        )
        return videos[kept[:left]], als[kept[:left]], total[:left]
