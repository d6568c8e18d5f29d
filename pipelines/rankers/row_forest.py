"""A boosted model over rows of features, evaluated node by node for many rows at a time.

LightGBM walks each row through each tree, whose branches a processor cannot predict. Here each node is
evaluated for a block of rows at once and gives a mask of the leaves that remain possible; the one leaf that
all masks share gives the tree's value, as in `pair_forest`, to the last bit.
"""

from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np

from pipelines.rankers.forest import LEAVES_MAX, read_trees
from pipelines.rankers.tree_loops import DE_BRUIJN, TOP_BITS, add_rows

_BLOCK_ROWS = 8_192  # rows that are copied at a time, if they are not contiguous in memory


@dataclass(frozen=True)
class RowForest:
    """A model's nodes, tree after tree.

    Attributes:
        starts: int64 [trees + 1], where each tree's nodes begin.
        features: int64, the feature that each node reads.
        thresholds: float32, the largest number that goes left.
        sets: int64, the row in `categories` of the codes that go left; below 0 for a number.
        categories: bool [sets, codes + 1], the last column False.
        unknown_left: bool, whether NaN goes left.
        left, right: uint32 or uint64, masks of the leaves that remain possible on each side.
        values: float64 [trees, 64], what each leaf adds, by the top bits of its mask.
    """

    starts: np.ndarray
    features: np.ndarray
    thresholds: np.ndarray
    sets: np.ndarray
    categories: np.ndarray
    unknown_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, booster: lgb.Booster) -> "RowForest":
        """Read a model.

        Raises:
            InputError: for a model that `read_trees` refuses.
        """
        trees = read_trees(booster)
        nodes = [node for tree in trees for node in tree.splits]
        sets = [node.categories for node in nodes if node.categories is not None]
        categories = np.zeros((len(sets), max(map(len, sets), default=1)), dtype=bool)
        for row, codes in zip(categories, sets, strict=True):
            row[: len(codes)] = codes
        is_number = np.array([node.categories is None for node in nodes], dtype=bool)
        narrow = all(len(tree.leaf_values) <= 32 for tree in trees)
        masks = np.uint32 if narrow else np.uint64
        return cls(
            np.append(0, np.cumsum([len(tree.splits) for tree in trees], dtype=np.int64)),
            np.array([node.feature for node in nodes], dtype=np.int64),
            _not_above(np.array([node.threshold for node in nodes], dtype=np.float64)),
            np.where(is_number, -1, np.cumsum(~is_number) - 1),
            categories,
            np.array([node.unknown_left for node in nodes], dtype=bool),
            np.array([node.left for node in nodes], dtype=masks),
            np.array([node.right for node in nodes], dtype=masks),
            np.array([_by_top_bits(tree.leaf_values) for tree in trees]).reshape(len(trees), LEAVES_MAX),
        )

    def raw(self, rows: np.ndarray, before: np.ndarray | None = None, trees: int = 0) -> np.ndarray:
        """The raw scores of rows.

        Args:
            rows: float32 [rows, features].
            before: float64 [rows], the raw scores by the first `trees` trees, if they are known.
            trees: how many trees `before` comes from.

        Returns:
            float64 [rows].
        """
        total = np.zeros(len(rows)) if before is None else before.copy()
        later = replace(self, starts=self.starts[trees:], values=self.values[trees:])
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            later._add(np.ascontiguousarray(rows[part], dtype=np.float32), total[part])
        return total

    def _add(self, rows: np.ndarray, total: np.ndarray) -> None:
        add_rows(
            rows,
            self.starts,
            self.features,
            self.thresholds,
            self.sets,
            self.categories,
            self.unknown_left,
            self.left,
            self.right,
            self.values,
            total,
        )


def _not_above(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 at or below each threshold; it splits float32 values just as the threshold does."""
    with np.errstate(over="ignore"):
        found = thresholds.astype(np.float32)
    above = found > thresholds
    found[above] = np.nextafter(found[above], np.float32(-np.inf))
    return found


def _by_top_bits(leaf_values: np.ndarray) -> np.ndarray:
    found = np.zeros(LEAVES_MAX)
    leaves = np.uint64(1) << np.arange(len(leaf_values), dtype=np.uint64)
    found[(leaves * DE_BRUIJN) >> TOP_BITS] = leaf_values
    return found
