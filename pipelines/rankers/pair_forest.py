"""A boosted model split by what its nodes read: user features, video features, and features of the pair.

Each split of a tree is on a feature of the user, of the video, or of the pair: `als_score`, and what a user's
own modules add. So splits are evaluated once per user, once per video and once for each interval of such a
feature, each time as a mask of the leaves that remain possible; the masks of a pair have one leaf in common.
Scoring a pair then costs an AND and a look-up per tree for the user and each pair feature that the tree
reads, at any depth, and no row of features is composed. All videos of a user cost less: the few different
masks of the videos are combined with the user's and the intervals' once, and each video looks its own up.
Sums are made in the order of the trees, so scores are LightGBM's to the last bit.

Masks of leaves: Lucchese et al., QuickScorer: a Fast Algorithm to Rank Documents with Additive Ensembles of
Regression Trees (SIGIR 2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np

from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.rankers.block_forest import Block, Words, add_blocks, blocks_of
from pipelines.rankers.borders import Borders
from pipelines.rankers.forest import LEAVES_MAX, Split, Tree, open_leaves, read_trees
from pipelines.rankers.table_loops import add_grid, add_runs, fill_tables
from pipelines.rankers.tree_loops import DE_BRUIJN, TOP_BITS, add_pairs

# Users over whom is averaged to see which videos score high for many.
_USERS_ASKED = 32


@dataclass(frozen=True)
class _Classes:
    """The distinct masks of each tree: few, as a tree has few splits on features of users or of videos.

    Attributes:
        masks: uint64, each of a tree's masks once, tree after tree, from starts [trees + 1] on.
        numbers: uint16 or uint32 [trees, masks], the class of each mask.
    """

    masks: np.ndarray
    starts: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, leaves: np.ndarray) -> "_Classes":
        """From masks of leaves.

        Args:
            leaves: uint64 [trees, masks].
        """
        found = [np.unique(of_tree, return_inverse=True) for of_tree in leaves]
        masks = [masks for masks, _ in found]
        lengths = [len(of_tree) for of_tree in masks]
        narrow = max(lengths, default=0) <= np.iinfo(np.uint16).max
        numbers = np.zeros(leaves.shape, dtype=np.uint16 if narrow else np.uint32)
        for tree, (_, of_tree) in enumerate(found):
            numbers[tree] = of_tree
        return cls(
            np.concatenate([*masks, np.zeros(0, np.uint64)]), np.append(0, np.cumsum(lengths)), numbers
        )

    @property
    def counts(self) -> np.ndarray:
        """The number of distinct masks of each tree: int64 [trees]."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class _Intervals:
    """The features of pairs, each divided into intervals in which all splits decide alike.

    Attributes:
        borders: of each feature.
        asked: int64 [trees, 1 + features], how many of the pair features a tree reads, and which.
        leaves: uint64 [features, trees, intervals], leaves open in each; the one after the last border is for
            larger values, the next for unknown ones.
        class_masks: uint64 [features, trees, classes], intervals of the same leaves put together.
        class_numbers: uint32, as `leaves`, the class of each interval.
        class_counts: int64 [features, trees].
    """

    borders: tuple[Borders, ...]
    asked: np.ndarray
    leaves: np.ndarray
    class_masks: np.ndarray
    class_numbers: np.ndarray
    class_counts: np.ndarray

    @classmethod
    def of(cls, trees: tuple[Tree, ...], indices: tuple[int, ...]) -> "_Intervals":
        asked = np.zeros((len(trees), 1 + len(indices)), dtype=np.int64)
        borders = []
        for feature, index in enumerate(indices):
            splits = [tree.asked_of(index) for tree in trees]
            borders.append(np.unique([one for own in splits for each in own for one in _borders(each)]))
            for tree in (number for number, own in enumerate(splits) if own):
                asked[tree, 0] += 1
                asked[tree, asked[tree, 0]] = feature
        shape = (len(indices), len(trees), max(map(len, borders), default=0) + 2)
        leaves, masks = np.zeros((2, *shape), dtype=np.uint64)
        numbers = np.zeros(shape, dtype=np.uint32)
        counts = np.zeros(shape[:2], dtype=np.int64)
        for feature, (index, own) in enumerate(zip(indices, borders, strict=True)):
            # An interval's upper border belongs to it, and stands for it.
            column = np.concatenate([own, [np.inf, np.nan]])
            width = len(column)
            leaves[feature, :, :width] = open_leaves(trees, {index: column}, width)
            classes = _Classes.of(leaves[feature, :, :width])
            counts[feature], numbers[feature, :, :width] = classes.counts, classes.numbers
            for tree, start in enumerate(classes.starts[:-1].tolist()):
                of_tree = classes.masks[start : classes.starts[tree + 1]]
                masks[feature, tree, : len(of_tree)] = of_tree
        return cls(tuple(map(Borders.of, borders)), asked, leaves, masks, numbers, counts)

    def numbers(self, pair_values: Sequence[np.ndarray]) -> np.ndarray:
        """The interval of each value: uint32 [features, ...].

        Args:
            pair_values: float32 [...] for each feature.
        """
        found = np.empty((len(self.borders), *pair_values[0].shape), dtype=np.uint32)
        for feature, (borders, values) in enumerate(zip(self.borders, pair_values, strict=True)):
            borders.intervals(values, found[feature])
        return found


def _borders(split: Split) -> list[float]:
    """The values at which some split changes sides; for categories after each code, an integer from 0."""
    if split.categories is None:
        return [split.threshold]
    return [-1.0, *map(float, range(len(split.categories)))]


@dataclass(frozen=True)
class PairForest:
    """A model's trees, with their splits on video features already evaluated.

    Attributes:
        videos: uint64 [trees, videos], the leaves that remain possible for a video.
        classes: the same masks, each different one once.
        of_pairs: the splits on the features of a pair, in the order of `pair_indices`.
        values: float64 [trees, 64], what each leaf adds, by the top bits of its mask.
    """

    joined: JoinedFeatures
    trees: tuple[Tree, ...]
    videos: np.ndarray
    classes: _Classes
    of_pairs: _Intervals
    values: np.ndarray

    @classmethod
    def of(cls, booster: lgb.Booster, joined: JoinedFeatures) -> "PairForest":
        """Read a model's trees, and evaluate their splits on video features.

        Raises:
            InputError: for a model that `read_trees` refuses.
        """
        trees = read_trees(booster)
        values = np.zeros((len(trees), LEAVES_MAX))
        for number, tree in enumerate(trees):
            leaves = np.uint64(1) << np.arange(len(tree.leaf_values), dtype=np.uint64)
            values[number, (leaves * DE_BRUIJN) >> TOP_BITS] = tree.leaf_values
        videos = open_leaves(trees, joined.video_columns(), len(joined.video_factors))
        of_pairs = _Intervals.of(trees, joined.pair_indices)
        return cls(joined, trees, videos, _Classes.of(videos), of_pairs, values)

    def of_users(self, users: np.ndarray) -> np.ndarray:
        """The leaves left possible for users, given as positions in `joined`: uint64 [trees, users]."""
        return open_leaves(self.trees, self.joined.user_columns(users), len(users))

    def grid(self, users: np.ndarray, *pair_values: np.ndarray) -> np.ndarray:
        """The raw scores of some users with all videos.

        Args:
            users: uint64 [trees, users], from `of_users`.
            pair_values: float32 [users, videos] each, in the order of `pair_indices`: als_score
                first.

        Returns:
            float64 [users, videos].
        """
        of_pairs, classes = self.of_pairs, self.classes
        users = np.ascontiguousarray(users)
        total = np.zeros((users.shape[1], self.videos.shape[1]))
        starts = self.table_starts(self.videos.shape[1])
        add_grid(
            users,
            self.videos,
            classes.numbers,
            starts,
            self.tables(users, starts),
            of_pairs.asked,
            of_pairs.leaves,
            of_pairs.class_numbers,
            of_pairs.class_counts,
            of_pairs.numbers(pair_values),
            self.values,
            total,
        )
        return total

    def catalogue(self, users: np.ndarray, rows: np.ndarray, als_scores: np.ndarray) -> np.ndarray:
        """The same as `grid`, from the joined features of pairs but als_score.

        Args:
            users: uint64 [trees, users], from `of_users`.
            rows: int64 [users], their positions in `joined`.
            als_scores: float32 [users, videos].
        """
        blocks = self._blocks
        if blocks is None:
            return self.grid(users, als_scores, *self.joined.pair_grid(rows))
        (table,), (als, other) = self.joined.pairs, self.of_pairs.borders
        (values,) = table.by_group(rows)
        numbers = np.empty(als_scores.shape, dtype=np.uint32)
        of_groups = np.empty(values.shape, dtype=np.uint32)
        als.intervals(als_scores, numbers)
        other.intervals(values, of_groups)
        total = np.zeros(als_scores.shape)
        tables = self.tables(users, self.table_starts(self.videos.shape[1]), more=1)
        add_blocks(
            blocks,
            tables,
            numbers=numbers,
            group=table.of_video.astype(np.uint32),
            group_numbers=of_groups,
            total=total,
        )
        return total

    @cached_property
    def class_shares(self) -> np.ndarray:
        """The share of the videos that are of each class, in the order of `classes.masks`: float64."""
        videos = self.videos.shape[1]
        counts = [
            np.bincount(numbers, minlength=count)
            for numbers, count in zip(self.classes.numbers, self.classes.counts.tolist(), strict=True)
        ]
        shares: np.ndarray = np.concatenate(counts) / videos
        return shares

    @cached_property
    def _blocks(self) -> tuple[Block, ...] | None:
        """The trees in blocks, if pairs have one feature beside als_score and every tree has a table."""
        return self._blocks_of()

    @cached_property
    def words(self) -> Words | None:
        """The trees in words of four, under the same condition; videos of high scores come first."""
        blocks = self._blocks_of(entries_most=0)
        if not blocks:
            return None
        starts, some = self.table_starts(self.videos.shape[1]), len(self.joined.user_factors)
        users = np.unique(np.linspace(0, some - 1, min(some, _USERS_ASKED)).astype(np.int64))
        means = np.split(self.tables(self.of_users(users), starts).mean(axis=0), starts[1:-1])
        usual = np.zeros(self.videos.shape[1])
        for values, count, numbers in zip(means, self.classes.counts, self.classes.numbers, strict=True):
            usual += values.reshape(count, -1).max(axis=1)[numbers]
        return Words.of(blocks, np.argsort(-usual, kind="stable"))

    def _blocks_of(self, **most: int) -> tuple[Block, ...] | None:
        if [len(table.indices) for table in self.joined.pairs] != [1]:
            return None
        of_pairs, starts = self.of_pairs, self.table_starts(self.videos.shape[1])
        return blocks_of(
            starts,
            self.classes.numbers,
            of_pairs.asked,
            of_pairs.class_numbers,
            of_pairs.class_counts,
            **most,
        )

    def pairs(
        self, users: np.ndarray, user: np.ndarray, video: np.ndarray, *pair_values: np.ndarray
    ) -> np.ndarray:
        """The raw scores of some pairs.

        Args:
            users: uint64 [trees, users], from `of_users`.
            user: int [pairs], each pair's column there.
            video: int [pairs], the position of each pair's video in `joined`.
            pair_values: float32 [pairs] each, as in `grid`.

        Returns:
            float64 [pairs].
        """
        total = np.zeros(len(user))
        runs = np.flatnonzero(np.append(True, user[1:] != user[:-1]))
        starts = self.table_starts(len(user) // len(runs))
        if len(user) * len(self.trees) > len(runs) * starts[-1]:
            # A table must have fewer entries than there are look-ups in it.
            of_runs = np.ascontiguousarray(users[:, user[runs]])
            add_runs(
                of_runs,
                np.append(runs, len(user)),
                self.videos,
                video.astype(np.uint32),
                self.classes.numbers,
                starts,
                self.tables(of_runs, starts),
                self.of_pairs.asked,
                self.of_pairs.leaves,
                self.of_pairs.class_numbers,
                self.of_pairs.class_counts,
                self.of_pairs.numbers(pair_values),
                self.values,
                total,
            )
            return total
        add_pairs(
            np.ascontiguousarray(users),
            user.astype(np.uint32),
            self.videos,
            video.astype(np.uint32),
            self.of_pairs.asked,
            self.of_pairs.leaves,
            self.of_pairs.numbers(pair_values),
            self.values,
            total,
        )
        return total

    def tables(self, users: np.ndarray, starts: np.ndarray, more: int = 0) -> np.ndarray:
        """What each tree adds, to be looked up: float64 [users, entries].

        Args:
            users: uint64 [trees, users].
            starts: from `table_starts`.
            more: number of zeros after the entries.
        """
        of_pairs, classes = self.of_pairs, self.classes
        tables = np.zeros((users.shape[1], int(starts[-1]) + more))
        fill_tables(
            np.ascontiguousarray(users),
            classes.masks,
            classes.starts,
            of_pairs.asked,
            of_pairs.class_masks,
            of_pairs.class_counts,
            self.values,
            starts,
            tables,
        )
        return tables

    def table_starts(self, looked_up: int) -> np.ndarray:
        """Where the entries of each tree begin in a user's table: int64 [trees + 1].

        Args:
            looked_up: the number of a user's pairs. Of trees that read two pair features, those with more
                entries have none: to make them would cost more than they save.
        """
        asked = self.of_pairs.asked[:, 0]
        has_table = (asked < 2) | ((asked == 2) & (self._entries <= looked_up))
        return np.append(0, np.cumsum(np.where(has_table, self._entries, 0)))

    @cached_property
    def _entries(self) -> np.ndarray:
        """The number of different values that each tree can add for a user: int64 [trees]."""
        of_pairs = self.of_pairs
        entries = self.classes.counts.copy()
        for tree, (number, *features) in enumerate(of_pairs.asked.tolist()):
            entries[tree] *= np.prod(of_pairs.class_counts[features[:number], tree], dtype=np.int64)
        return entries
