"""Rows of numbers score as in LightGBM, to the last bit."""

import lightgbm as lgb
import numpy as np
import pytest

from pipelines.rankers.row_forest import RowForest


@pytest.mark.parametrize(("leaves", "unknown"), [(2, 0.0), (15, 0.0), (15, 0.2), (41, 0.2), (64, 0.1)])
def test_every_row_scores_as_in_lightgbm_to_the_last_bit(leaves: int, unknown: float) -> None:
    random = np.random.default_rng([leaves, int(unknown * 10)])
    rows = random.normal(size=(3_000, 7)).astype(np.float32)
    rows[:, 3] = rows[:, 3].round()
    rows[random.random(rows.shape) < unknown] = np.nan
    known = np.nan_to_num(rows)
    target = np.sin(known[:, 0] * 3) + known[:, 1] * known[:, 2] + known[:, 3] + random.normal(size=len(rows))
    parameters = {"objective": "regression", "num_leaves": leaves, "min_data_in_leaf": 3, "num_threads": 1}
    model = lgb.train({**parameters, "verbose": -1}, lgb.Dataset(rows, target), 20)
    # Values exactly at a border, and missing values where the model has seen none.
    asked = np.concatenate([rows, _at_borders(model, random, rows.shape[1])])
    asked[::11, 5] = np.nan
    expected = model.predict(asked, raw_score=True)
    np.testing.assert_array_equal(RowForest.of(model).raw(asked), expected)
    np.testing.assert_array_equal(RowForest.of(model).raw(asked[5:6]), expected[5:6])
    assert len(RowForest.of(model).raw(asked[:0])) == 0
    by_three = model.predict(asked, raw_score=True, num_iteration=3)
    np.testing.assert_array_equal(RowForest.of(model).raw(asked, by_three, 3), expected)


def test_categories_score_as_in_lightgbm_to_the_last_bit() -> None:
    random = np.random.default_rng(6)
    rows = random.normal(size=(4_000, 3)).astype(np.float32)
    rows[:, 1] = random.integers(0, 40, len(rows))
    rows[:, 2] = random.integers(0, 300, len(rows))
    rows[::9, 1:] = np.nan
    target = rows[:, 0] + np.nan_to_num(rows[:, 1] % 5) + np.nan_to_num(rows[:, 2] % 7)
    parameters = {"objective": "regression", "min_data_per_group": 5, "cat_smooth": 1.0, "num_threads": 1}
    data = lgb.Dataset(rows, target, categorical_feature=[1, 2])
    model = lgb.train({**parameters, "verbose": -1}, data, 20)
    assert "num_cat=0" not in model.model_to_string().split("Tree=1")[0]
    asked = rows.copy()
    # Codes that no play had, a negative one among them, which counts as unknown.
    asked[:500, 1:] = random.integers(-1, 400, (500, 2))
    np.testing.assert_array_equal(RowForest.of(model).raw(asked), model.predict(asked, raw_score=True))


def _at_borders(model: lgb.Booster, random: np.random.Generator, features: int) -> np.ndarray:
    splits = model.trees_to_dataframe().dropna(subset="split_feature")
    borders = splits["threshold"].to_numpy(np.float64).clip(-1e30, 1e30).astype(np.float32)
    # LightGBM's border at zero is 1e-35, and a value just there is taken for 0 before it is asked.
    borders = np.where(np.abs(borders) < 1e-30, np.float32(0.0), borders)
    near = np.stack([np.nextafter(borders, np.float32(side)) for side in (-np.inf, np.inf)])
    values = np.concatenate([borders, near.ravel()])
    return random.choice(values, (500, features)).astype(np.float32)


def test_a_model_that_learnt_nothing_scores_all_alike() -> None:
    rows = np.zeros((40, 2), dtype=np.float32)
    model = lgb.train({"objective": "regression", "verbose": -1}, lgb.Dataset(rows, np.ones(40)), 2)
    np.testing.assert_array_equal(RowForest.of(model).raw(rows), model.predict(rows, raw_score=True))
