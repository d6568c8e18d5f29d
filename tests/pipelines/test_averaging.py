"""Several models as one: its scores are the mean of theirs, wherever it is read."""

import lightgbm as lgb
import numpy as np
import pytest

from pipelines.rankers.averaging import averaged
from pipelines.rankers.row_forest import RowForest

ROWS = 800


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Numbers, some of them unknown, and a category in the last column."""
    random = np.random.default_rng(0)
    found = random.normal(size=(ROWS, 5))
    found[random.random(found.shape) < 0.1] = np.nan
    found[:, 4] = random.integers(0, 9, ROWS)
    return found.astype(np.float32)


@pytest.fixture(scope="module")
def models(features: np.ndarray) -> list[lgb.Booster]:
    """Three models of different lengths and seeds."""
    target = (np.nan_to_num(features[:, 0]) + features[:, 4] % 3 > 1).astype(np.float32)
    parameters = {"objective": "binary", "feature_fraction": 0.5, "num_threads": 1, "verbose": -1}
    return [
        lgb.train(
            {**parameters, "seed": trees}, lgb.Dataset(features, target, categorical_feature=[4]), trees
        )
        for trees in (3, 9, 14)
    ]


def test_scores_are_the_mean_of_the_models_scores(features: np.ndarray, models: list[lgb.Booster]) -> None:
    mean = np.mean([model.predict(features, raw_score=True) for model in models], axis=0)
    found = averaged(models)
    assert found.num_trees() == 3 + 9 + 14
    saved = lgb.Booster(model_str=found.model_to_string())
    for scores in (found.predict(features, raw_score=True), saved.predict(features, raw_score=True)):
        np.testing.assert_allclose(scores, mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(RowForest.of(found).raw(features), mean, rtol=0, atol=1e-12)


def test_what_features_contribute_adds_up_to_the_mean(
    features: np.ndarray, models: list[lgb.Booster]
) -> None:
    mean = np.mean([model.predict(features, raw_score=True) for model in models], axis=0)
    contributed = np.asarray(averaged(models).predict(features, pred_contrib=True)).sum(axis=1)
    np.testing.assert_allclose(contributed, mean, rtol=0, atol=1e-9)


def test_the_same_models_give_the_same_text(models: list[lgb.Booster]) -> None:
    assert averaged(models).model_to_string() == averaged(models).model_to_string()


def test_one_model_stays_as_it_is(features: np.ndarray, models: list[lgb.Booster]) -> None:
    scores = averaged(models[:1]).predict(features, raw_score=True)
    np.testing.assert_array_equal(scores, models[0].predict(features, raw_score=True))
