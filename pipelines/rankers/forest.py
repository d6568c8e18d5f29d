"""LightGBM's trees as arrays: each node's split, and the leaves that each outcome leaves open.

Read from LightGBM's own text format (version v4) and evaluated as its prediction does: numbers go left where
they are not above the threshold, categories where they are in the node's set, and unknown values where the
node says. A leaf is a bit of a uint64.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import lightgbm as lgb
import numpy as np

from nightreel.core.errors import InputError

LEAVES_MAX = 64
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_SHIFT, _MISSING_IS_ZERO, _MISSING_IS_NAN = 2, 1, 2


@dataclass(frozen=True)
class Split:
    """A node's split on one feature.

    Attributes:
        feature: its index in a row.
        threshold: the largest number that goes left.
        unknown_left: whether NaN does.
        categories: bool, by code, which codes go left; None where the feature is a number.
        left, right: masks of the leaves that stay open if a value goes left or right.
    """

    feature: int
    threshold: float
    unknown_left: bool
    categories: np.ndarray | None
    left: np.uint64
    right: np.uint64

    def decides_left(self, values: np.ndarray) -> np.ndarray:
        """Whether each value goes left.

        Args:
            values: float64 [rows], NaN where unknown.

        Returns:
            bool [rows].
        """
        if self.categories is None:
            left: np.ndarray = values <= self.threshold
            if self.unknown_left:
                left |= np.isnan(values)
            return left
        # Unknown categories go right, and so do those beyond the set: its last entry is False.
        beyond = len(self.categories) - 1
        with np.errstate(invalid="ignore"):
            inside = (values >= 0) & (values < beyond)
            codes = np.where(inside, values, beyond).astype(np.int64)
        return self.categories[codes]


@dataclass(frozen=True)
class Tree:
    """A tree.

    Attributes:
        splits: the splits of its nodes, in any order.
        leaf_values: float64 [leaves], what each leaf adds to the score.
    """

    splits: tuple[Split, ...]
    leaf_values: np.ndarray

    @property
    def every_leaf(self) -> np.uint64:
        """The mask of all leaves."""
        return np.uint64(2 ** len(self.leaf_values) - 1)

    def asked_of(self, feature: int) -> list[Split]:
        """The splits on this feature."""
        return [split for split in self.splits if split.feature == feature]


def open_leaves(trees: Sequence[Tree], columns: Mapping[int, np.ndarray], rows: int) -> np.ndarray:
    """The leaves of each tree that remain possible when only some features of a row are known.

    Splits on other features close nothing. The masks of disjoint sets of features can be ANDed; over all
    features, one leaf remains.

    Args:
        columns: index of a feature -> its values, float32 or float64 [rows].

    Returns:
        uint64 [trees, rows].
    """
    known = {position: values.astype(np.float64) for position, values in columns.items()}
    masks = np.empty((len(trees), rows), dtype=np.uint64)
    for position, tree in enumerate(trees):
        masks[position] = tree.every_leaf
        for split in tree.splits:
            if split.feature in known:
                left = split.decides_left(known[split.feature])
                masks[position] &= np.where(left, split.left, split.right)
    return masks


def read_trees(booster: lgb.Booster) -> tuple[Tree, ...]:
    """The trees of a model, in its order.

    Raises:
        InputError: for models that would not be evaluated as LightGBM does it: trees of more than LEAVES_MAX
            leaves, zeros that count as unknown, linear leaves.
    """
    text: str = booster.model_to_string()
    blocks = text.partition("\nend of trees")[0].split("\nTree=")[1:]
    return tuple(_tree(dict(_fields(block))) for block in blocks)


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _tree(fields: Mapping[str, str]) -> Tree:
    leaves = int(fields["num_leaves"])
    if leaves > LEAVES_MAX or fields.get("is_linear", "0") != "0":
        raise InputError(
            f"A tree of the model has {leaves} leaves; at most {LEAVES_MAX} constant ones are supported.",
            "Lower [ranker.lightgbm] num_leaves, and run `nightreel train` again.",
        )
    values = _numbers(fields["leaf_value"])
    if leaves == 1:
        return Tree((), values)
    left, right = (_numbers(fields[name]).astype(int) for name in ("left_child", "right_child"))
    below = _leaves_below(left, right)
    everything = 2**leaves - 1
    sets = _category_sets(fields)
    splits = []
    for node, (feature, threshold, decision) in enumerate(
        zip(
            _numbers(fields["split_feature"]).astype(int).tolist(),
            _numbers(fields["threshold"]).tolist(),
            _numbers(fields["decision_type"]).astype(int).tolist(),
            strict=True,
        )
    ):
        missing = decision >> _MISSING_SHIFT
        is_categorical = bool(decision & _CATEGORICAL)
        if missing == _MISSING_IS_ZERO and not is_categorical:
            raise InputError(
                "The model treats zeros as unknown values.", "Run `nightreel train` to make another."
            )
        # A model that has seen no unknown value treats one as 0.
        is_left = bool(decision & _DEFAULT_LEFT) if missing == _MISSING_IS_NAN else threshold >= 0
        splits.append(
            Split(
                feature=feature,
                threshold=threshold,
                unknown_left=is_left,
                categories=sets[int(threshold)] if is_categorical else None,
                left=np.uint64(everything & ~below[int(right[node])]),
                right=np.uint64(everything & ~below[int(left[node])]),
            )
        )
    return Tree(tuple(splits), values)


def _leaves_below(left: np.ndarray, right: np.ndarray) -> dict[int, int]:
    """The mask of the leaves below each child: a node by its number, a leaf as ~leaf, as in LightGBM."""
    below: dict[int, int] = {}
    # Children have higher numbers than their parents.
    for node in range(len(left) - 1, -1, -1):
        children = (int(left[node]), int(right[node]))
        for child in children:
            if child < 0:
                below[child] = 1 << ~child
        below[node] = below[children[0]] | below[children[1]]
    return below


def _category_sets(fields: Mapping[str, str]) -> list[np.ndarray]:
    """Which codes each set holds, bool by code, with one False more at the end."""
    if fields.get("num_cat", "0") == "0":
        return []
    borders = _numbers(fields["cat_boundaries"]).astype(int)
    words = np.array([int(word) for word in fields["cat_threshold"].split()], dtype="<u4")
    return [
        np.append(np.unpackbits(words[first:end].view(np.uint8), bitorder="little"), 0).astype(bool)
        for first, end in pairwise(borders)
    ]


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64)
