"""Fits classifier and regressor with LightGBM, deterministically, on one binned copy of the features."""

from typing import Any, Protocol

import lightgbm as lgb
import numpy as np

from nightreel.logs import progress
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
    """A range of a matrix as LightGBM reads it: a block at a time."""

    batch_size = _BLOCK_ROWS

    def __init__(self, matrix: Matrix, rows: slice) -> None:
        self._matrix = matrix
        self._rows = range(rows.start, rows.stop)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | list[int]) -> np.ndarray:
        if isinstance(index, slice):
            part = self._rows[index]
            return self._matrix[part.start : part.stop]
        return self._matrix[np.atleast_1d(np.asarray(self._rows)[index])].squeeze()


def fit_rankers(
    matrix: Matrix, wanted: Targets, slices: Slices, encoding: FeatureEncoding, settings: Settings
) -> HybridRanker:
    """Fit both rankers on slices.fit, each stopped early on slices.stop.

    matrix: all rows in order of time; wanted: what came of them. The features are binned once: the second
    model reuses the first one's bins under another label. The same input gives the same models.
    """
    common = common_parameters(settings, slices.fit.stop - slices.fit.start)
    fit, stop = _binned(matrix, slices, encoding, common)
    models = []
    for name, label, own in (
        ("classifier", wanted.liked, _CLASSIFIER),
        ("regressor", wanted.amount, _REGRESSOR),
    ):
        fit.set_label(label[slices.fit].astype(np.float32))
        stop.set_label(label[slices.stop].astype(np.float32))
        models.append(_boost(name, fit, stop, {**common, **own}, settings))
    classifier, regressor = models
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
        "bagging_fraction": min(0.7, settings.tree_rows / rows),
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


def _binned(
    matrix: Matrix,
    slices: Slices,
    encoding: FeatureEncoding,
    parameters: dict[str, Any],
) -> tuple[lgb.Dataset, lgb.Dataset]:
    """Bin the rows of both slices by the bins of a sample of the first."""
    rows = slices.fit.stop - slices.fit.start
    # Bins come from rows drawn at once: through the Sequence LightGBM would ask for them one by one.
    random = np.random.default_rng(parameters["seed"])
    chosen = np.sort(random.choice(rows, min(rows, _BINNING_ROWS), replace=False)) + slices.fit.start

    def dataset(data: np.ndarray | _Rows, reference: lgb.Dataset | None) -> lgb.Dataset:
        return lgb.Dataset(
            data,
            reference=reference,
            feature_name=list(encoding.names),
            categorical_feature=list(encoding.categorical),
            params=parameters,
        ).construct()

    sample = dataset(matrix[chosen], None)
    fit = dataset(_Rows(matrix, slices.fit), sample)
    stop = dataset(_Rows(matrix, slices.stop), fit)
    return fit, stop


def _boost(
    name: str, fit: lgb.Dataset, stop: lgb.Dataset, parameters: dict[str, Any], settings: Settings
) -> lgb.Booster:
    with progress(name, total=settings.trees) as advance:
        booster = lgb.train(
            parameters,
            fit,
            num_boost_round=settings.trees,
            valid_sets=[stop],
            callbacks=[
                lgb.early_stopping(settings.early_stopping_trees, verbose=False),
                lambda _: advance(),
            ],
        )
    # Read back from its text, so that this model and the saved one are the same in every respect.
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))
