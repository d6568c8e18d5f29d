"""The order of what the filter keeps: the regressor's, and als_score counts only if past lists gain."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.model_rows.joined_features import JoinedFeatures
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.blend import Blend
from pipelines.rankers.common_order import means_over_users
from pipelines.rankers.hybrid import ORDERED_BY
from pipelines.rankers.list_order import PastLists, with_fitted_order
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.shown_shrinkage import with_fitted_shrinkage
from pipelines.rankers.shrinkage import Shrinkage
from pipelines.rankers.training_data import TrainingData
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

LOG = make_log(7, users=150, videos=200, plays=12_000)
FEW_TREES = (
    "ranker.lightgbm.num_iterations = 30\nranker.lightgbm.early_stopping_round = 30\nranker.filter_k = 200\n"
)
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
    return HybridRanker.load(model_registry.champion(settings.paths).folder, threads=1)


@pytest.fixture(scope="module")
def data(settings: Settings) -> TrainingData:
    return TrainingData.join(open_store(), settings)


def _fitted(ranker: HybridRanker, data: TrainingData, settings: Settings) -> HybridRanker:
    return with_fitted_order(ranker, PastLists.of(data, open_store(), settings))


def test_a_good_regressor_orders_alone(ranker: HybridRanker, data: TrainingData, settings: Settings) -> None:
    fitted = _fitted(ranker, data, settings)
    assert fitted.order.only() == REGRESSOR
    scores = np.array([0.3, 0.9, 0.1])
    assert fitted.ordering(scores, np.full(3, np.nan)) is scores


def test_als_score_helps_whom_it_has_told_of(
    ranker: HybridRanker, data: TrainingData, settings: Settings
) -> None:
    """Users who like what ALS said they would: the regressor knows less of them."""
    lists = PastLists.of(data, open_store(), settings)
    assert lists is not None
    liked = np.zeros_like(lists.liked)
    for user, seen in enumerate(lists.seen):
        scores = np.where(seen, -np.inf, np.nan_to_num(lists.joined.als_scores(user), nan=-np.inf))
        liked[user, np.argsort(-scores)[:5]] = True
    relabelled = replace(lists, liked=liked)
    fitted = with_fitted_order(ranker, relabelled)
    assert fitted.order.weights[columns.ALS_SCORE] > 0
    assert with_fitted_order(ranker, relabelled).order == fitted.order
    assert with_fitted_order(ranker, lists).order.only() == REGRESSOR


def test_what_is_personal_counts_less_where_users_like_what_all_are_thought_to(
    ranker: HybridRanker, data: TrainingData, settings: Settings
) -> None:
    """Not at all if they like nothing else, and as before where each likes what is thought of them."""
    found = PastLists.of(data, open_store(), settings)
    assert found is not None
    lists = replace(found, joined=_of_all_tastes(found.joined))
    every = np.arange(len(lists.seen))
    grids = [*PairRanker.of(ranker, lists.joined).block(every).regressed_grid()]
    als, regressed = (np.concatenate([grid[side] for grid in grids]) for side in (1, 2))
    # The trees hardly tell users apart: with als_score in the order no list is everyone's.
    order = Blend(
        {REGRESSOR: 1.0, columns.ALS_SCORE: 4.0},
        {REGRESSOR: float(regressed.mean()), columns.ALS_SCORE: float(als.mean())},
        {REGRESSOR: float(regressed.std()), columns.ALS_SCORE: float(als.std())},
    )
    personal = replace(ranker, order=order)
    own = np.stack([personal.ordering(*scores) for scores in zip(regressed, als, strict=True)])
    common = means_over_users(PairRanker.of(personal, lists.joined), every)
    np.testing.assert_allclose(common, own.mean(axis=0))
    everyones = with_fitted_shrinkage(personal, _liking(lists, np.broadcast_to(common, own.shape))).shrinkage
    assert len(everyones.weights) > 2
    assert set(everyones.weights[1:]) == {0.0}, "users with a history"
    assert with_fitted_shrinkage(personal, _liking(lists, own)).shrinkage.changes_nothing
    assert with_fitted_shrinkage(personal, None).shrinkage.changes_nothing


def _of_all_tastes(joined: JoinedFeatures) -> JoinedFeatures:
    """The same users and videos, with als_scores that no two users share."""
    random = np.random.default_rng(8)
    factors = [
        random.normal(size=of.shape).astype(np.float32) for of in (joined.user_factors, joined.video_factors)
    ]
    return replace(joined, user_factors=factors[0], video_factors=factors[1])


def _liking(lists: PastLists, scores: np.ndarray) -> PastLists:
    """The same lists, of users who like the five open videos of the highest scores."""
    liked = np.zeros_like(lists.liked)
    best = np.argsort(np.where(lists.seen, np.inf, -scores), axis=1)[:, :5]
    np.put_along_axis(liked, best, values=True, axis=1)
    return replace(lists, liked=liked)


def test_only_plays_that_stop_the_models_are_asked(data: TrainingData, settings: Settings) -> None:
    """Outcomes of the holdout and of the plays that trees learn from do not matter; those between do."""
    lists = PastLists.of(data, open_store(), settings)
    assert lists is not None

    def with_others(part: slice) -> bool:
        liked = data.targets.liked.copy()
        liked[part] = ~liked[part]
        other = replace(data, targets=replace(data.targets, liked=liked))
        found = PastLists.of(other, open_store(), settings)
        assert found is not None
        return all(
            np.array_equal(getattr(found, name), getattr(lists, name)) for name in ("seen", "liked", "plays")
        )

    assert with_others(data.slices.holdout)
    assert with_others(data.slices.fit)
    assert not with_others(data.slices.stop)


def test_the_order_is_kept_with_the_model(ranker: HybridRanker, tmp_path: Path) -> None:
    order = Blend(
        dict(zip(ORDERED_BY, (1.0, 0.25), strict=True)),
        dict.fromkeys(ORDERED_BY, 1 / 3),
        dict.fromkeys(ORDERED_BY, 0.7),
    )
    replace(ranker, order=order).save(tmp_path / "model")
    assert HybridRanker.load(tmp_path / "model").order == order
    shrinkage = Shrinkage((1.0, 9.0), (0.0, 0.25, 1.0))
    replace(ranker, shrinkage=shrinkage).save(tmp_path / "shrunk")
    assert HybridRanker.load(tmp_path / "shrunk").shrinkage == shrinkage
    (tmp_path / "model" / "order.json").unlink()
    assert HybridRanker.load(tmp_path / "model").order.only() == REGRESSOR


def test_the_manifest_says_what_orders(settings: Settings) -> None:
    manifest = model_registry.champion(settings.paths).manifest
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
