"""A boosted model taken apart by sides: what it asks of users, of videos, and of the pair alone.

Each question of a tree is about the user, the video, or `als_score`, the one feature of a pair. So questions
are answered once a user, once a video and once for each interval of `als_score`, every time as a mask of the
leaves that the answers leave open; of a pair, the three masks have one leaf in common. Scoring a pair then
costs two ANDs and two look-ups a tree, whatever the tree's depth, and no row of features is composed. Sums
are made in the order of the trees, so scores are LightGBM's to the last bit.

Masks of leaves: Lucchese et al., QuickScorer: a Fast Algorithm to Rank Documents with Additive Ensembles of
Regression Trees (SIGIR 2015).
"""

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from pipelines.rankers.forest import LEAVES_MAX, Tree, open_leaves, read_trees
from pipelines.rankers.sides import Sides

# The top six bits of a power of two times this number tell which power it is: a de Bruijn sequence.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_TOP_BITS = np.uint64(58)


@dataclass(frozen=True)
class PairForest:
    """A model's trees, and what they answer of each video.

    videos: uint64 [trees, videos], leaves that a video leaves open. borders: float64, ascending, where
    answers about `als_score` change. intervals: uint64 [trees, borders + 2], leaves open in each interval,
    the last for an unknown one. asks_pair: whether each tree asks of it at all. values: float64 [trees, 64],
    what each leaf adds, by the top bits of its mask.
    """

    sides: Sides
    trees: tuple[Tree, ...]
    videos: np.ndarray
    borders: np.ndarray
    intervals: np.ndarray
    asks_pair: tuple[bool, ...]
    values: np.ndarray

    @classmethod
    def of(cls, booster: lgb.Booster, sides: Sides) -> "PairForest":
        """Take a model apart, and answer its questions about the videos.

        Raises InputError for a model that `read_trees` does not take.
        """
        trees = read_trees(booster)
        asked = [tree.asked_of(sides.als_place) for tree in trees]
        borders = np.unique([question.threshold for questions in asked for question in questions])
        # An interval is answered for by its upper border, which belongs to it; then beyond all, and unknown.
        column = np.concatenate([borders, [np.inf, np.nan]])
        values = np.zeros((len(trees), LEAVES_MAX))
        for place, tree in enumerate(trees):
            leaves = np.uint64(1) << np.arange(len(tree.leaf_values), dtype=np.uint64)
            values[place, (leaves * _DE_BRUIJN) >> _TOP_BITS] = tree.leaf_values
        return cls(
            sides,
            trees,
            open_leaves(trees, sides.video_columns(), len(sides.video_factors)),
            borders,
            open_leaves(trees, {sides.als_place: column}, len(column)),
            tuple(bool(questions) for questions in asked),
            values,
        )

    def of_users(self, users: np.ndarray) -> np.ndarray:
        """The leaves that these users leave open: uint64 [trees, users]. users: places in the sides."""
        return open_leaves(self.trees, self.sides.user_columns(users), len(users))

    def grid(self, users: np.ndarray, als_score: np.ndarray) -> np.ndarray:
        """The raw scores of some users with all videos: float64 [users, videos].

        users: uint64 [trees, users], of `of_users`. als_score: float32 [users, videos].
        """

        def opened(tree: int, out: np.ndarray) -> None:
            np.bitwise_and(self.videos[tree], users[tree, :, None], out=out)

        return self._sum(opened, als_score)

    def pairs(
        self, users: np.ndarray, user: np.ndarray, video: np.ndarray, als_score: np.ndarray
    ) -> np.ndarray:
        """The raw scores of some pairs: float64 [pairs].

        users: of `of_users`; user: each pair's column there. video: each pair's place in the sides.
        als_score: float32 [pairs].
        """
        of_user = np.empty(len(user), dtype=np.uint64)

        def opened(tree: int, out: np.ndarray) -> None:
            np.take(self.videos[tree], video, out=out, mode="clip")
            np.take(users[tree], user, out=of_user, mode="clip")
            np.bitwise_and(out, of_user, out=out)

        return self._sum(opened, als_score)

    def _sum(self, opened: Callable[[int, np.ndarray], None], als_score: np.ndarray) -> np.ndarray:
        """Add up what the trees say of pairs. opened: writes the leaves that user and video leave open."""
        interval = np.searchsorted(self.borders, als_score.astype(np.float64))
        interval[np.isnan(als_score)] = len(self.borders) + 1
        leaf = np.empty(als_score.shape, dtype=np.uint64)
        of_pair = np.empty_like(leaf)
        added = np.empty(als_score.shape)
        total = np.zeros(als_score.shape)
        for tree in range(len(self.trees)):
            opened(tree, leaf)
            if self.asks_pair[tree]:
                np.take(self.intervals[tree], interval, out=of_pair, mode="clip")
                np.bitwise_and(leaf, of_pair, out=leaf)
            np.multiply(leaf, _DE_BRUIJN, out=leaf)
            np.right_shift(leaf, _TOP_BITS, out=leaf)
            np.take(self.values[tree], leaf.view(np.int64), out=added, mode="clip")
            np.add(total, added, out=total)
        return total
