"""What orders the filter's choice: the regressor, and help only where lists of the past show its worth."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from feature_repo.open_store import store as open_store
from nightreel import columns
from nightreel.settings import Settings
from pipelines import model_registry
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.blend import Blend
from pipelines.rankers.hybrid import ORDERED_BY
from pipelines.rankers.list_order import PastLists, with_fitted_order
from pipelines.rankers.training_data import TrainingData
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

LOG = make_log(7, users=150, videos=200, plays=12_000)
FEW_TREES = "trees = 30\nearly_stopping_trees = 30\nfilter_k = 200\nlambdamart_plays = 0\n"
REGRESSOR = columns.REGRESSOR_SCORE


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        made = make_feature_home(
            tmp_path_factory.mktemp("order") / "home", LOG, patch, more_settings=FEW_TREES
        )
        train(made)
        yield made


@pytest.fixture(scope="module")
def ranker(settings: Settings) -> HybridRanker:
    return HybridRanker.load(model_registry.champion(settings).folder, threads=1)


@pytest.fixture(scope="module")
def data(settings: Settings) -> TrainingData:
    return TrainingData.join(open_store(), settings)


def _fitted(ranker: HybridRanker, data: TrainingData, settings: Settings) -> HybridRanker:
    return with_fitted_order(ranker, PastLists.of(data, open_store(), settings))


def _backwards(ranker: HybridRanker) -> HybridRanker:
    """The same with a regressor that prefers what it should not: als_score has to help."""
    regressor = lgb.Booster(model_str=ranker.regressor.model_to_string())
    # Their sum stays above 0, as amounts are.
    least = 6.0 / ranker.regressor.num_trees()
    for tree, structure in enumerate(ranker.regressor.dump_model()["tree_info"]):
        for leaf in range(structure["num_leaves"]):
            regressor.set_leaf_output(tree, leaf, least - ranker.regressor.get_leaf_output(tree, leaf))
    return replace(ranker, regressor=regressor)


def test_a_good_regressor_orders_alone(ranker: HybridRanker, data: TrainingData, settings: Settings) -> None:
    fitted = _fitted(ranker, data, settings)
    assert fitted.order.only() == REGRESSOR
    scores = np.array([0.3, 0.9, 0.1])
    assert fitted.ordering(scores, np.full(3, np.nan)) is scores


def test_a_regressor_that_errs_is_helped(
    ranker: HybridRanker, data: TrainingData, settings: Settings
) -> None:
    fitted = _fitted(_backwards(ranker), data, settings)
    assert fitted.order.weights[columns.ALS_SCORE] > 0
    again = _fitted(_backwards(ranker), data, settings)
    assert again.order == fitted.order


def test_only_plays_that_stop_the_models_are_asked(
    ranker: HybridRanker, data: TrainingData, settings: Settings
) -> None:
    """Outcomes of the holdout and of the plays that trees learn from do not matter; those between do."""
    erring = _backwards(ranker)
    fitted = _fitted(erring, data, settings).order

    def with_others(part: slice) -> Blend:
        liked = data.wanted.liked.copy()
        liked[part] = ~liked[part]
        other = replace(data, wanted=replace(data.wanted, liked=liked))
        return _fitted(erring, other, settings).order

    assert with_others(data.slices.holdout) == fitted
    assert with_others(data.slices.fit) == fitted
    assert with_others(data.slices.stop) != fitted


def test_the_order_is_kept_with_the_model(ranker: HybridRanker, tmp_path: Path) -> None:
    order = Blend(
        dict(zip(ORDERED_BY, (1.0, 0.25), strict=True)),
        dict.fromkeys(ORDERED_BY, 1 / 3),
        dict.fromkeys(ORDERED_BY, 0.7),
    )
    replace(ranker, order=order).save(tmp_path / "model")
    assert HybridRanker.load(tmp_path / "model").order == order
    (tmp_path / "model" / "order.json").unlink()
    assert HybridRanker.load(tmp_path / "model").order.only() == REGRESSOR


def test_the_manifest_says_what_orders(settings: Settings) -> None:
    manifest = model_registry.champion(settings).manifest
    assert manifest["order"] == {REGRESSOR: 1.0}
    assert datetime.fromisoformat(manifest["data"]["early_stopping_from"]) < datetime.fromisoformat(
        manifest["data"]["holdout_from"]
    )


def test_an_unknown_als_score_counts_as_the_mean(ranker: HybridRanker) -> None:
    order = Blend(
        {REGRESSOR: 1.0, columns.ALS_SCORE: 1.0},
        {REGRESSOR: 0.0, columns.ALS_SCORE: 0.4},
        {REGRESSOR: 1.0, columns.ALS_SCORE: 0.2},
    )
    helped = replace(ranker, order=order)
    half = np.full(3, 0.5)
    low, mean, unknown = helped.ordering(half, np.array([0.2, 0.4, np.nan])).tolist()
    assert low < mean == unknown
