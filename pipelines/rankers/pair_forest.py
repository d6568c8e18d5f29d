"""A boosted model taken apart by sides: what it asks of users, of videos, and of the pair alone.

Each question of a tree is about the user, the video, or a feature of the pair: `als_score`, and what a user's
own modules add. So questions are answered once a user, once a video and once for each interval of such a
feature, every time as a mask of the leaves that the answers leave open; of a pair, the masks have one leaf in
common. Scoring a pair then costs an AND and a look-up a tree for the user and each feature that the tree asks
of, whatever the tree's depth, and no row of features is composed. Of a user with all videos it costs less:
the few different masks of the videos are combined with the user's and the intervals' once, and each video
looks its own up. Sums are made in the order of the trees, so scores are LightGBM's to the last bit.

Masks of leaves: Lucchese et al., QuickScorer: a Fast Algorithm to Rank Documents with Additive Ensembles of
Regression Trees (SIGIR 2015).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import lightgbm as lgb
import numpy as np

from pipelines.model_rows.sides import Sides
from pipelines.rankers.forest import LEAVES_MAX, Question, Tree, open_leaves, read_trees

# The top six bits of a power of two times this number tell which power it is: a de Bruijn sequence.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_TOP_BITS = np.uint64(58)


class _Classes:
    """For each tree the different masks among many; few, as a tree asks little of one side.

    They are looked for when they are first asked for.
    """

    def __init__(self, leaves: np.ndarray) -> None:
        """leaves: uint64 [trees, masks]."""
        self._leaves = leaves

    def masks(self, tree: int) -> np.ndarray:
        """Each of a tree's masks once: uint64 [classes]."""
        return self._found[0][tree]

    def numbers(self, tree: int) -> np.ndarray:
        """The class of each mask of a tree: int64 [masks]."""
        numbers: np.ndarray = self._found[1][tree]
        return numbers

    @cached_property
    def _found(self) -> tuple[list[np.ndarray], np.ndarray]:
        masks, numbers = [], np.empty(self._leaves.shape, dtype=np.int64)
        for tree, of_tree in enumerate(self._leaves):
            found, numbers[tree] = np.unique(of_tree, return_inverse=True)
            masks.append(found)
        return masks, numbers


@dataclass(frozen=True)
class _Intervals:
    """A feature of pairs, cut where an answer about it changes.

    borders: float64, ascending. leaves: uint64 [trees, intervals], leaves open in each, the last for an
    unknown value. classes: the same, intervals of the same leaves put together. is_asked: whether each tree
    asks of the feature at all.
    """

    borders: np.ndarray
    leaves: np.ndarray
    classes: _Classes
    is_asked: tuple[bool, ...]

    @classmethod
    def of(cls, trees: tuple[Tree, ...], index: int) -> "_Intervals":
        asked = [tree.asked_of(index) for tree in trees]
        borders = np.unique([border for questions in asked for one in questions for border in _borders(one)])
        # An interval is answered for by its upper border, which belongs to it; then beyond all, and unknown.
        column = np.concatenate([borders, [np.inf, np.nan]])
        leaves = open_leaves(trees, {index: column}, len(column))
        return cls(
            borders,
            leaves,
            _Classes(leaves),
            tuple(bool(questions) for questions in asked),
        )

    def numbers(self, values: np.ndarray) -> np.ndarray:
        """The interval of each value: int64."""
        found = np.searchsorted(self.borders, values.astype(np.float64))
        found[np.isnan(values)] = len(self.borders) + 1
        return found


def _borders(question: Question) -> list[float]:
    """Where the answer changes; for categories after each code, which are whole numbers from 0."""
    if question.categories is None:
        return [question.threshold]
    return [-1.0, *map(float, range(len(question.categories)))]


@dataclass(frozen=True)
class PairForest:
    """A model's trees, and what they answer of each video.

    videos: uint64 [trees, videos], leaves that a video leaves open; classes: the same, videos of the same
    leaves put together. of_pairs: what is asked of each feature
    of a pair, in the order of the sides' pair_indices. values: float64 [trees, 64], what each leaf adds, by
    the top bits of its mask.
    """

    sides: Sides
    trees: tuple[Tree, ...]
    videos: np.ndarray
    classes: _Classes
    of_pairs: tuple["_Intervals", ...]
    values: np.ndarray

    @classmethod
    def of(cls, booster: lgb.Booster, sides: Sides) -> "PairForest":
        """Take a model apart, and answer its questions about the videos.

        Raises InputError for a model that `read_trees` does not take.
        """
        trees = read_trees(booster)
        values = np.zeros((len(trees), LEAVES_MAX))
        for place, tree in enumerate(trees):
            leaves = np.uint64(1) << np.arange(len(tree.leaf_values), dtype=np.uint64)
            values[place, (leaves * _DE_BRUIJN) >> _TOP_BITS] = tree.leaf_values
        videos = open_leaves(trees, sides.video_columns(), len(sides.video_factors))
        return cls(
            sides,
            trees,
            videos,
            _Classes(videos),
            tuple(_Intervals.of(trees, index) for index in sides.pair_indices),
            values,
        )

    def of_users(self, users: np.ndarray) -> np.ndarray:
        """The leaves that these users leave open: uint64 [trees, users]. users: places in the sides."""
        return open_leaves(self.trees, self.sides.user_columns(users), len(users))

    def grid(self, users: np.ndarray, *pair_values: np.ndarray) -> np.ndarray:
        """The raw scores of some users with all videos: float64 [users, videos].

        users: uint64 [trees, users], of `of_users`. pair_values: float32 [users, videos] each, als_score and
        the others, as the sides' pair_indices have them.
        """

        asked = self._asked(pair_values)
        added = np.empty((users.shape[1], self.videos.shape[1]))
        total = np.zeros_like(added)
        index, of_pair = (np.empty(added.shape, dtype=np.int64) for _ in range(2))
        for tree in range(len(self.trees)):
            # What a tree says of every class of videos and intervals, for each user; pairs look it up.
            opened = users[tree, :, None] & self.classes.masks(tree)
            own = [(intervals.classes, number) for intervals, number in asked if intervals.is_asked[tree]]
            for n, (classes, number) in enumerate(own):
                np.take(classes.numbers(tree) * opened.shape[1], number, out=of_pair, mode="clip")
                np.add(self.classes.numbers(tree) if n == 0 else index, of_pair, out=index)
                opened = (classes.masks(tree)[:, None] & opened[:, None, :]).reshape(len(opened), -1)
            said = self.values[tree][(opened * _DE_BRUIJN) >> _TOP_BITS]
            if own:
                for user, of_user in enumerate(said):
                    np.take(of_user, index[user], out=added[user], mode="clip")
            else:
                np.take(said, self.classes.numbers(tree), axis=1, out=added, mode="clip")
            np.add(total, added, out=total)
        return total

    def pairs(
        self, users: np.ndarray, user: np.ndarray, video: np.ndarray, *pair_values: np.ndarray
    ) -> np.ndarray:
        """The raw scores of some pairs: float64 [pairs].

        users: of `of_users`; user: each pair's column there. video: each pair's place in the sides.
        pair_values: float32 [pairs] each, as in `grid`.
        """
        of_user = np.empty(len(user), dtype=np.uint64)

        def opened(tree: int, out: np.ndarray) -> None:
            np.take(self.videos[tree], video, out=out, mode="clip")
            np.take(users[tree], user, out=of_user, mode="clip")
            np.bitwise_and(out, of_user, out=out)

        return self._sum(opened, pair_values)

    def _asked(self, pair_values: tuple[np.ndarray, ...]) -> list[tuple["_Intervals", np.ndarray]]:
        """The features of pairs that any tree asks of, and the interval of each value."""
        return [
            (intervals, intervals.numbers(values))
            for intervals, values in zip(self.of_pairs, pair_values, strict=True)
            if any(intervals.is_asked)
        ]

    def _sum(
        self, opened: Callable[[int, np.ndarray], None], pair_values: tuple[np.ndarray, ...]
    ) -> np.ndarray:
        """Add up what the trees say of pairs. opened: writes the leaves that user and video leave open."""
        asked = self._asked(pair_values)
        shape = pair_values[0].shape
        leaf = np.empty(shape, dtype=np.uint64)
        of_pair = np.empty_like(leaf)
        added = np.empty(shape)
        total = np.zeros(shape)
        for tree in range(len(self.trees)):
            opened(tree, leaf)
            for intervals, number in asked:
                if intervals.is_asked[tree]:
                    np.take(intervals.leaves[tree], number, out=of_pair, mode="clip")
                    np.bitwise_and(leaf, of_pair, out=leaf)
            np.multiply(leaf, _DE_BRUIJN, out=leaf)
            np.right_shift(leaf, _TOP_BITS, out=leaf)
            np.take(self.values[tree], leaf.view(np.int64), out=added, mode="clip")
            np.add(total, added, out=total)
        return total
