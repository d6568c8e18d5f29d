"""How the next day's rankers are fitted: models that are averaged, and how much sources count of sessions."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.rankers.examples import NIGHTS, SESSIONS, SMALL_LOG_PLAYS
from pipelines.rankers.next_day import CLASSIFIER, LAMBDAMART, REGRESSOR, SOURCES
from pipelines.rankers.next_day_training import fit_next_day
from pipelines.rankers.past_nights import NightRows

EXAMPLES, CANDIDATES = 120, 10


@pytest.fixture(scope="module")
def rows() -> NightRows:
    """A small log's nights, whose likes follow the score of `als`, with some noise."""
    random = np.random.default_rng(3)
    example = np.repeat(np.arange(EXAMPLES), CANDIDATES)
    score = random.normal(size=len(example))
    liked = score + random.normal(size=len(example)) > 1.2
    return NightRows(
        ("als", "other"),
        np.column_stack([score, random.normal(size=len(example))]).astype(np.float32),
        liked,
        liked.astype(np.float32),
        example,
        example % 3 == 0,
        np.ones(len(example), dtype=bool),
        np.arange(len(example)) % 40,
        np.zeros(len(example), dtype=np.int64),
        np.zeros(len(example), dtype=np.int64),
        NIGHTS,
        log_plays=SMALL_LOG_PLAYS,
    )


def test_on_a_small_log_models_that_order_are_the_mean_of_three(rows: NightRows) -> None:
    small, _ = fit_next_day(rows, 1, 2)
    large, _ = fit_next_day(replace(rows, log_plays=SMALL_LOG_PLAYS + 1), 1, 2)
    for name in (CLASSIFIER, LAMBDAMART, REGRESSOR):
        times = 3 if name == CLASSIFIER or small.order.weights.get(name) else 1
        assert small.models[name].num_trees() == times * large.models[name].num_trees()


def test_the_same_rows_and_seed_give_the_same_models_with_any_number_of_threads(rows: NightRows) -> None:
    one, two = (fit_next_day(rows, 5, threads)[0] for threads in (1, 3))
    for name, model in one.models.items():
        np.testing.assert_array_equal(model.predict(rows.features), two.models[name].predict(rows.features))
    assert one.order == two.order


def test_of_sessions_the_sources_count_as_much_as_all_models_together(rows: NightRows) -> None:
    ranker, quality = fit_next_day(replace(rows, kind=SESSIONS), 1, 2)
    weights = dict(ranker.order.weights)
    sources = weights.pop(SOURCES)
    assert sources >= sum(weights.values()) > 0
    assert quality["order"] > 0
