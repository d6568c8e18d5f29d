"""Fits classifier and regressor with LightGBM, deterministically, on one binned part of the plays at a time.

A large log is dealt into parts of `tree_rows` plays, every n-th play to the same part. Some trees are fitted
on the first part, the next ones, on top of what these predict, on the second, and so on: every play is learnt
from, no more than a part is in memory, and a tree costs what its part costs. Bagging of the whole log to the
same number of rows costs four times as much a tree on KuaiRec: each tree has to be applied to all plays.
"""

from collections.abc import Callable
from typing import Any, Protocol

import lightgbm as lgb
import numpy as np

from nightreel.logs import progress
from nightreel.settings import Settings
from pipelines.labels import Targets
from pipelines.rankers.encoding import FeatureEncoding
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.merging import merged
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
    """Some rows of a matrix as LightGBM reads them, a block at a time; each block is shown to `seen` too."""

    batch_size = _BLOCK_ROWS

    def __init__(self, matrix: Matrix, rows: range, seen: Callable[[slice, np.ndarray], None]) -> None:
        self._matrix = matrix
        self._rows = rows
        self._seen = seen

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | list[int]) -> np.ndarray:
        if isinstance(index, slice):
            part = self._rows[index]
            block = self._matrix[part.start : part.stop : part.step]
            self._seen(index, block)
            return block
        return self._matrix[np.atleast_1d(np.asarray(self._rows)[index])].squeeze()


class _Growing:
    """A model that grows part by part, and how well it does on the plays that stop it."""

    def __init__(self, name: str, target: np.ndarray, own: dict[str, Any], patience_trees: int) -> None:
        self.name = name
        self.target = target.astype(np.float32)
        self.own = own
        self.booster: lgb.Booster | None = None
        self.stopped = False
        self._patience_trees = patience_trees
        self._best = np.inf
        self._best_trees = 0
        self._trees = 0

    def predictions(self, rows: int) -> tuple[np.ndarray | None, Callable[[slice, np.ndarray], None]]:
        """Where the raw predictions of `rows` plays will stand, and what makes them of their blocks."""
        booster = self.booster
        if booster is None:
            return None, lambda _index, _block: None
        raw = np.empty(rows)

        def predict(index: slice, block: np.ndarray) -> None:
            raw[index] = booster.predict(block, raw_score=True)

        return raw, predict

    def after_tree(self, environment: Any) -> None:
        """Note the loss on the plays that stop the model; end the part where it has long not improved."""
        self._trees += 1
        loss = environment.evaluation_result_list[0][2]
        if loss < self._best:
            self._best, self._best_trees = loss, self._trees
        elif self._trees - self._best_trees >= self._patience_trees:
            self.stopped = True
            raise lgb.callback.EarlyStopException(environment.iteration, environment.evaluation_result_list)

    def finished(self) -> lgb.Booster:
        """The model with as many trees as did best, read back from its text, as it will be when loaded."""
        assert self.booster is not None
        return lgb.Booster(model_str=self.booster.model_to_string(num_iteration=self._best_trees))


def fit_rankers(
    matrix: Matrix, wanted: Targets, slices: Slices, encoding: FeatureEncoding, settings: Settings
) -> HybridRanker:
    """Fit both rankers on slices.fit, each stopped early on slices.stop.

    matrix: all rows in order of time; wanted: what came of them. The features of a part are binned once for
    both models. The same input gives the same models.
    """
    rows = range(slices.fit.start, slices.fit.stop)
    parts = max(1, -(-len(rows) // settings.tree_rows))
    common = common_parameters(settings, len(rows))
    bins = _bins(matrix, slices, encoding, common)
    models = [
        _Growing("classifier", wanted.liked, _CLASSIFIER, settings.early_stopping_trees),
        _Growing("regressor", wanted.amount, _REGRESSOR, settings.early_stopping_trees),
    ]
    trees = [len(range(part, settings.trees, parts)) for part in range(parts)]
    with progress("rankers", total=settings.trees * len(models)) as advance:
        for part in range(parts):
            growing = [model for model in models if not model.stopped]
            fit = _Binned.of(matrix, rows[part::parts], growing, bins)
            stop = _Binned.of(matrix, range(slices.stop.start, slices.stop.stop), growing, bins)
            for model in growing:
                grown = lgb.train(
                    {**common, **model.own},
                    fit.of_model(model),
                    num_boost_round=trees[part],
                    valid_sets=[stop.of_model(model)],
                    callbacks=[model.after_tree, lambda _: advance()],
                )
                model.booster = merged(model.booster, grown)
    classifier, regressor = (model.finished() for model in models)
    return HybridRanker(encoding, classifier, regressor, threads=settings.threads)


class _Binned:
    """Some plays, their features binned, and for each model what it predicts of them so far."""

    def __init__(self, data: lgb.Dataset, rows: range, raw: dict[str, np.ndarray | None]) -> None:
        self._data = data
        self._rows = slice(rows.start, rows.stop, rows.step)
        self._raw = raw

    @classmethod
    def of(cls, matrix: Matrix, rows: range, models: list[_Growing], bins: lgb.Dataset) -> "_Binned":
        """Bin these rows by the bins of another data set; their blocks are composed once."""
        made = {model.name: model.predictions(len(rows)) for model in models}

        def seen(index: slice, block: np.ndarray) -> None:
            for _, predict in made.values():
                predict(index, block)

        data = lgb.Dataset(
            _Rows(matrix, rows, seen),
            reference=bins,
            feature_name=bins.get_feature_name(),
            categorical_feature=bins.categorical_feature,
            params=bins.params,
        ).construct()
        return cls(data, rows, {name: raw for name, (raw, _) in made.items()})

    def of_model(self, model: _Growing) -> lgb.Dataset:
        """The data set as this model is to be fitted on it."""
        self._data.set_label(np.ascontiguousarray(model.target[self._rows]))
        self._data.set_init_score(self._raw[model.name])
        return self._data


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
