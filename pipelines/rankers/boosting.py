"""Fits classifier and regressor with LightGBM, deterministically, on one binned part of the plays at a time.

A large log is dealt into parts of `tree_rows` plays, every n-th play to the same part. Some trees are fitted
on the first part, the next ones, on top of what these predict, on the second, and so on: every play is learnt
from, no more than a part is in memory, and a tree costs what its part costs. Bagging of the whole log to the
same number of rows costs four times as much a tree on KuaiRec: each tree has to be applied to all plays.
"""

from typing import Any, Protocol

import lightgbm as lgb
import numpy as np

from nightreel.logs import Advance, progress
from nightreel.settings import Settings
from pipelines.labels import Targets
from pipelines.rankers.encoding import FeatureEncoding
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.slices import Slices

_BLOCK_ROWS = 65_536
_BINNING_ROWS = 200_000
_CLASSIFIER = {"objective": "binary", "metric": "binary_logloss"}
_REGRESSOR = {"objective": "regression", "metric": "l2"}


class Matrix(Protocol):
    """Feature rows, composed when asked for: float32 [rows, features]."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray: ...


class _Rows(lgb.Sequence):  # type: ignore[misc]
    """Some rows of a matrix as LightGBM reads them: a block at a time."""

    batch_size = _BLOCK_ROWS

    def __init__(self, matrix: Matrix, rows: range) -> None:
        self._matrix = matrix
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | list[int]) -> np.ndarray:
        if isinstance(index, slice):
            part = self._rows[index]
            return self._matrix[part.start : part.stop : part.step]
        return self._matrix[np.atleast_1d(np.asarray(self._rows)[index])].squeeze()


class _Growing:
    """A model that grows part by part, and how well it does on the plays that stop it."""

    def __init__(
        self, target: np.ndarray, parameters: dict[str, Any], stop: lgb.Dataset, patience_trees: int
    ) -> None:
        self.stopped = False
        self._target = target.astype(np.float32)
        self._parameters = parameters
        self._stop = stop
        self._patience_trees = patience_trees
        self._booster: lgb.Booster | None = None
        # LightGBM looks at the last part while it turns to the next, so that must not be freed before.
        self._part: lgb.Dataset | None = None
        self._best = np.inf
        self._best_trees = 0

    def grow(self, part: lgb.Dataset, rows: range, trees: int, advance: Advance) -> None:
        """Fit more trees on a part, on top of what the trees so far predict of it."""
        if self.stopped:
            return
        part.set_label(np.ascontiguousarray(self._target[rows.start : rows.stop : rows.step]))
        if self._booster is None:
            self._booster = lgb.Booster(self._parameters, part)
            self._booster.add_valid(self._stop, "stop")
        for _ in range(trees):
            # A part that is new to the model is first scored by the trees that there are.
            self._booster.update(train_set=part)
            self._part = part
            advance()
            ((_, _, loss, _),) = self._booster.eval_valid()
            if loss < self._best:
                self._best, self._best_trees = loss, self._booster.current_iteration()
            elif self._booster.current_iteration() - self._best_trees >= self._patience_trees:
                self.stopped = True
                return

    def finished(self) -> lgb.Booster:
        """The model with as many trees as did best, read back from its text, as it will be when loaded."""
        assert self._booster is not None
        return lgb.Booster(model_str=self._booster.model_to_string(num_iteration=self._best_trees))


def fit_rankers(
    matrix: Matrix, wanted: Targets, slices: Slices, encoding: FeatureEncoding, settings: Settings
) -> HybridRanker:
    """Fit both rankers on slices.fit, each stopped early on slices.stop.

    matrix: all rows in order of time; wanted: what came of them. The features of a part are binned once for
    both models. The same input gives the same models.
    """
    rows = range(slices.fit.start, slices.fit.stop)
    stop_rows = range(slices.stop.start, slices.stop.stop)
    parts = max(1, -(-len(rows) // settings.tree_rows))
    common = common_parameters(settings, len(rows))
    bins = _bins(matrix, slices, encoding, common)
    models = [
        _Growing(
            target,
            {**common, **own},
            _binned(matrix, stop_rows, bins, target[slices.stop]),
            settings.early_stopping_trees,
        )
        for target, own in ((wanted.liked, _CLASSIFIER), (wanted.amount, _REGRESSOR))
    ]
    with progress("rankers", total=settings.trees * len(models)) as advance:
        for part in range(parts):
            data = _binned(matrix, rows[part::parts], bins)
            for model in models:
                model.grow(data, rows[part::parts], len(range(part, settings.trees, parts)), advance)
    classifier, regressor = (model.finished() for model in models)
    return HybridRanker(encoding, classifier, regressor, threads=settings.threads)


def common_parameters(settings: Settings, rows: int) -> dict[str, Any]:
    """LightGBM's parameters that all rankers share; rows: how many they are fitted on."""
    # Codes with hundreds of values (onehot_feat3, author_id) are learnt by heart unless each needs support of
    # many plays; a small log has few to ask for.
    shrinkage = min(max(rows / 700, 20.0), 300.0)
    return {
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l1": 0.05,
        "lambda_l2": 0.05,
        "cat_smooth": shrinkage,
        "cat_l2": shrinkage,
        "min_data_per_group": int(shrinkage),
        "max_cat_threshold": 8,
        "max_bin": 255,
        "bin_construct_sample_cnt": _BINNING_ROWS,
        "feature_pre_filter": False,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": settings.threads,
        "seed": settings.seed,
        "verbose": -1,
    }


def _bins(
    matrix: Matrix, slices: Slices, encoding: FeatureEncoding, parameters: dict[str, Any]
) -> lgb.Dataset:
    """The bins of a sample of the rows to fit on, drawn at once: a Sequence would be asked for one by one."""
    rows = slices.fit.stop - slices.fit.start
    random = np.random.default_rng(parameters["seed"])
    chosen = np.sort(random.choice(rows, min(rows, _BINNING_ROWS), replace=False)) + slices.fit.start
    return lgb.Dataset(
        matrix[chosen],
        feature_name=list(encoding.names),
        categorical_feature=list(encoding.categorical),
        params=parameters,
    ).construct()


def _binned(matrix: Matrix, rows: range, bins: lgb.Dataset, target: np.ndarray | None = None) -> lgb.Dataset:
    """These rows, binned as another data set is."""
    return lgb.Dataset(
        _Rows(matrix, rows),
        label=None if target is None else target.astype(np.float32),
        reference=bins,
        feature_name=bins.get_feature_name(),
        categorical_feature=bins.categorical_feature,
        params=bins.params,
    ).construct()
