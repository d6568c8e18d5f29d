"""LambdaMART: its queries are whole, and it puts the better liked videos first."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.lambdamart import chosen_rows, fit_lambdamart, queries
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.labels import LengthBuckets, targets
from pipelines.metrics import RankedLists, ndcg_at_k
from pipelines.rankers import FeatureEncoding
from pipelines.rankers.boosting import common_parameters
from pipelines.rankers.slices import Slices

DAY_US = 86_400_000_000


def test_a_query_is_a_users_week_and_none_is_lost() -> None:
    user = np.array([2, 1, 2, 1, 1])
    instants = np.array([0, 1, 2, 3, 8]) * DAY_US
    order, sizes = queries(user, instants)
    assert user[order].tolist() == [1, 1, 1, 2, 2]
    assert order.tolist() == [1, 3, 4, 0, 2] and sizes.tolist() == [2, 1, 2]


def test_a_week_of_too_many_plays_is_split_evenly() -> None:
    order, sizes = queries(np.zeros(5_001, dtype=np.int64), np.zeros(5_001, dtype=np.int64))
    assert len(order) == 5_001 and sizes.sum() == 5_001
    assert len(sizes) == 3 and sizes.max() <= 2_000


def test_whole_users_are_drawn_and_no_more_plays_than_asked_for() -> None:
    user = np.random.default_rng(0).integers(0, 50, 1_000)
    rows = chosen_rows(user, slice(100, 900), 300, seed=1)
    assert 200 < len(rows) <= 300 and rows.min() >= 100 and rows.max() < 900
    inside = np.arange(100, 900)
    assert set(rows) == set(inside[np.isin(user[inside], user[rows])])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {
            "home": tmp_path,
            "threads": 1,
            "ranker.lightgbm.num_iterations": 40,
            "ranker.lightgbm.learning_rate": 0.2,
            "ranker.lightgbm.early_stopping_round": 40,
        }
    )


def _fit(settings: Settings):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(3)
    rows = 6_000
    user, matrix = random.integers(0, 30, rows), random.normal(size=(rows, 2)).astype(np.float32)
    ratio = np.exp(matrix[:, 1] * 0.5 + random.normal(0, 0.3, rows)).astype(np.float32)
    length = np.full(rows, 9_000)
    slices = Slices(slice(0, 4_000), slice(4_000, 5_000), slice(5_000, rows))
    wanted = targets("ratio", LengthBuckets.fit(ratio, length), ratio, length, settings.data)
    booster = fit_lambdamart(
        matrix,
        wanted,
        slices,
        user_id=user,
        instants_us=np.arange(rows) * DAY_US // 300,
        encoding=FeatureEncoding(("noise", columns.VIDEO_DURATION), {}),
        parameters=common_parameters(settings, 4_000),
        settings=settings,
    )
    return booster, matrix[slices.holdout], user[slices.holdout], wanted, slices.holdout


def test_it_puts_the_better_liked_first_and_repeats(settings: Settings) -> None:
    booster, matrix, user, wanted, holdout = _fit(settings)
    scores = booster.predict(matrix)
    ranked = RankedLists.of(user, np.arange(len(user)), scores, wanted.liked[holdout], wanted.amount[holdout])
    assert ndcg_at_k(ranked, 10).mean() > 0.9
    assert _fit(settings)[0].model_to_string() == booster.model_to_string()
