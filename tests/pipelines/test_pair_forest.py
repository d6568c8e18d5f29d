"""A model taken apart by users and videos scores every pair as LightGBM does, to the last bit."""

from collections.abc import Iterator
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest
from scipy.special import expit

from nightreel.core.errors import InputError
from pipelines.model_rows.joined_features import EncodedFeatures, JoinedFeatures
from pipelines.model_rows.ordering import best_positions
from pipelines.model_rows.pair_table import PairTable
from pipelines.rankers.best_raw import maybe_best
from pipelines.rankers.borders import Borders
from pipelines.rankers.likeliest import best_of_users, can_be_bounded
from pipelines.rankers.pair_forest import PairForest
from pipelines.rankers.pair_ranker import als_scores_of_pairs, scores_of_pairs

NAMES = ("user_code", "user_amount", "video_code", "video_amount", "hour", "als_score")
CATEGORICAL = ["user_code", "video_code"]
FACTORS = 3


def _joined(random: np.random.Generator, *, users: int, videos: int, unknown: float) -> JoinedFeatures:
    def side(rows: int) -> np.ndarray:
        values = np.column_stack([random.integers(0, 70, rows), random.normal(size=rows).round(1)])
        values[random.random(values.shape) < unknown] = np.nan
        return values.astype(np.float32)

    def factors(rows: int) -> np.ndarray:
        values = random.normal(size=(rows, FACTORS)).astype(np.float32)
        values[random.random(rows) < unknown] = np.nan
        return values

    return JoinedFeatures(
        NAMES,
        EncodedFeatures(side(users), ((slice(0, 2), slice(0, 2)),)),
        EncodedFeatures(side(videos), ((slice(2, 4), slice(0, 2)),)),
        factors(users),
        factors(videos),
        constants={4: 21.0},
        als_index=5,
    )


def _rows(joined: JoinedFeatures) -> np.ndarray:
    """Every pair's features: float32 [users, videos, features]."""
    users, videos = len(joined.user_factors), len(joined.video_factors)
    rows = np.empty((users, videos, len(NAMES)), dtype=np.float32)
    rows[..., :2] = joined.users.values[:, None]
    rows[..., 2:4] = joined.videos.values
    rows[..., 4] = 21.0
    for user in range(users):
        rows[user, :, 5] = joined.als_scores(user)
    return rows


def _model(joined: JoinedFeatures, random: np.random.Generator, leaves: int, trees: int = 12) -> lgb.Booster:
    rows = _rows(joined).reshape(-1, len(NAMES))
    # Codes and hours beyond those that the joined features have, so that trees ask of them too.
    rows = rows[random.integers(0, len(rows), 4_000)]
    rows[:, 4] = random.integers(0, 24, len(rows))
    know = np.nan_to_num(rows)
    target = (
        np.sin(know[:, 0]) + know[:, 1] * (know[:, 2] % 3) + know[:, 3] + np.abs(know[:, 5]) + know[:, 4] % 5
    )
    data = lgb.Dataset(rows, target, feature_name=list(NAMES), categorical_feature=CATEGORICAL)
    parameters = {
        "objective": "regression",
        "num_leaves": leaves,
        "min_data_in_leaf": 3,
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
        "max_cat_to_onehot": 2,
        "num_threads": 1,
        "verbose": -1,
    }
    return lgb.train(parameters, data, trees)


@pytest.fixture(params=[(0.0, 41), (0.2, 41), (0.2, 64), (0.3, 2)], ids=str)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[JoinedFeatures, lgb.Booster]]:
    unknown, leaves = request.param
    random = np.random.default_rng([leaves, int(unknown * 10)])
    joined = _joined(random, users=23, videos=57, unknown=unknown)
    model = _model(joined, random, leaves)
    if not unknown:
        # A model that has seen nothing unknown is asked about it all the same.
        joined = _joined(random, users=23, videos=57, unknown=0.2)
    yield joined, model


def test_every_pair_scores_as_in_lightgbm_to_the_last_bit(case: tuple[JoinedFeatures, lgb.Booster]) -> None:
    joined, model = case
    rows = _rows(joined)
    expected = model.predict(rows.reshape(-1, len(NAMES)), raw_score=True).reshape(rows.shape[:2])
    forest = PairForest.of(model, joined)
    users = forest.of_users(np.arange(len(rows)))
    np.testing.assert_array_equal(forest.grid(users, rows[..., 5]), expected)
    user, video = np.indices(expected.shape).reshape(2, -1)[:, ::7]
    np.testing.assert_array_equal(
        forest.pairs(users, user, video, rows[user, video, 5]), expected[user, video]
    )
    # Enough pairs of a user for tables to pay off.
    user, video = np.repeat(np.indices(expected.shape).reshape(2, -1), 40, axis=1)
    np.testing.assert_array_equal(
        forest.pairs(users, user, video, rows[user, video, 5]), expected[user, video]
    )
    assert len(np.unique(expected)) > 3


def test_trees_that_ask_two_features_of_pairs_score_as_in_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small trees are looked up in tables, larger ones by masks of leaves."""
    random = np.random.default_rng(7)
    plain = _joined(random, users=5, videos=900, unknown=0.1)
    of_groups = random.normal(size=(5, 8)).round(1).astype(np.float32)
    of_groups[random.random(of_groups.shape) < 0.2] = np.nan
    of_video = random.integers(0, 8, 900)
    lifts = of_groups[:, of_video]
    names = (*NAMES, "lift")
    joined = replace(plain, names=names, pairs=(PairTable.dense(len(NAMES), of_groups, of_video),))
    rows = np.concatenate([_rows(plain), lifts[..., None]], axis=2)
    flat = rows.reshape(-1, len(names))
    known = np.nan_to_num(flat)
    target = known[:, 5] * known[:, 6] + known[:, 3] + 0.1 * random.normal(size=len(flat))
    user, video = np.repeat(np.indices(lifts.shape).reshape(2, -1), 3, axis=1)
    for leaves in (5, 40):
        parameters = {"objective": "regression", "num_leaves": leaves, "verbose": -1, "num_threads": 1}
        model = lgb.train(parameters, lgb.Dataset(flat, target, feature_name=list(names)), 20)
        expected = model.predict(flat, raw_score=True).reshape(lifts.shape)
        forest = PairForest.of(model, joined)
        assert (forest.of_pairs.asked[:, 0] == 2).any()
        users = forest.of_users(np.arange(5))
        np.testing.assert_array_equal(forest.grid(users, rows[..., 5], lifts), expected)
        with monkeypatch.context() as patch:
            if leaves == 5:
                # Blocks of trees need no values of single pairs.
                patch.delattr(PairForest, "grid")
            found = forest.catalogue(users, np.arange(5), rows[..., 5])
        np.testing.assert_array_equal(found, expected)
        found = forest.pairs(users, user, video, rows[user, video, 5], lifts[user, video])
        np.testing.assert_array_equal(found, expected[user, video])


def test_some_users_have_the_features_that_they_have_among_all() -> None:
    random = np.random.default_rng(11)
    plain = _joined(random, users=6, videos=40, unknown=0.2)
    keys = np.flatnonzero(random.random(6 * 5) < 0.6)  # of four groups, and of videos without one
    keys = keys[keys % 5 < 4]
    values = np.append(random.normal(size=len(keys)), np.nan).astype(np.float32)[None]
    table = PairTable((len(NAMES),), keys, values, random.integers(0, 5, 40), 4)
    joined = replace(plain, names=(*NAMES, "lift"), pairs=(table,))
    for users in ([0, 2, 5], [1], list(range(6))):
        some = joined.of_users(np.array(users))
        for position, user in enumerate(users):
            for video in (0, 7, 39):
                np.testing.assert_array_equal(some.pair(position, video), joined.pair(user, video))
        for found, expected in zip(
            some.pair_grid(np.arange(len(users))), joined.pair_grid(np.array(users)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 8.0, 40.0])
def test_the_likeliest_videos_are_among_those_that_may_be(scale: float) -> None:
    """Whether scores tie, differ in their last bits, or make probabilities that differ from 1 no longer."""
    random = np.random.default_rng(int(scale))
    raw = (scale * random.normal(size=(20, 203))).round(13)
    raw[:, ::3] = raw[:, 1::3][:, random.integers(0, 67, 68)]
    is_closed = random.random(raw.shape) < 0.3
    for scores, closed in zip(raw, is_closed, strict=True):
        for keep in (1, 20, 190):
            expected = best_positions(expit(scores), ~closed, keep)
            maybe = maybe_best(scores, np.packbits(closed), keep)
            found = best_positions(expit(scores[maybe]), np.ones(len(maybe), dtype=bool), keep)
            np.testing.assert_array_equal(maybe[found], expected)
            assert not closed[maybe].any()
            if scale == 1 and keep < 190:
                assert len(maybe) < keep + 40


def test_models_ask_of_every_side_and_of_unknown_values(case: tuple[JoinedFeatures, lgb.Booster]) -> None:
    """The cases above are hard ones: all features are asked for, and sets of categories too."""
    joined, model = case
    if model.num_trees() and model.params["num_leaves"] > 2:
        assert (model.feature_importance() > 0).all()
        assert "num_cat=0" not in model.model_to_string().split("Tree=1\n")[0]
    assert np.isnan(_rows(joined)).any()


def test_any_list_of_pairs_is_scored_whatever_the_threads(case: tuple[JoinedFeatures, lgb.Booster]) -> None:
    joined, model = case
    user = np.repeat([0, 3, 22], [57, 2, 30])
    video = np.concatenate([np.arange(57), [5, 4], np.arange(30)])
    als = als_scores_of_pairs(joined, user, video)
    np.testing.assert_allclose(als, _rows(joined)[user, video, 5], rtol=1e-5)
    for threads in (1, 3):
        found = scores_of_pairs(model, joined, user, video, als, threads=threads)
        rows = _rows(joined)[user, video]
        rows[:, 5] = als
        np.testing.assert_array_equal(found, model.predict(rows, raw_score=True))


def test_a_model_of_larger_trees_is_refused() -> None:
    random = np.random.default_rng(1)
    joined = _joined(random, users=23, videos=57, unknown=0.1)
    with pytest.raises(InputError, match="65 leaves"):
        PairForest.of(_model(joined, random, 65, trees=1), joined)


def test_a_model_that_learnt_nothing_scores_all_alike() -> None:
    joined = _joined(np.random.default_rng(1), users=3, videos=4, unknown=0.0)
    rows = _rows(joined).reshape(-1, len(NAMES))
    data = lgb.Dataset(rows, np.ones(len(rows)), feature_name=list(NAMES))
    model = lgb.train({"objective": "regression", "verbose": -1}, data, 2)
    forest = PairForest.of(model, joined)
    scores = forest.grid(forest.of_users(np.arange(3)), rows[:, 5].reshape(3, 4))
    np.testing.assert_array_equal(scores.ravel(), model.predict(rows, raw_score=True))


@pytest.mark.parametrize(
    "borders",
    [
        [],
        [0.5],
        [-1.0, *map(float, range(30))],
        [-1e300, 0.0, 1e-35, 1.0, 1.0000000001, 1e300],
        [-np.inf, -2.0, 0.25, 0.5, 3.0, np.inf],
        list(np.random.default_rng(1).normal(0.7, 0.2, 150)),
    ],
)
def test_the_interval_of_a_value_is_the_number_of_borders_below_it(borders: list[float]) -> None:
    ascending = np.sort(borders)
    near = np.concatenate([ascending, np.random.default_rng(2).normal(0.7, 0.5, 400), [0.0, np.inf, -np.inf]])
    values = np.nextafter(near.clip(-1e38, 1e38).astype(np.float32), np.float32(1))
    found = np.empty(len(values) + 1, dtype=np.uint32)
    Borders.of(ascending).intervals(np.append(values, np.float32(np.nan)), found)
    assert found[-1] == len(borders) + 1
    np.testing.assert_array_equal(found[:-1], np.searchsorted(ascending, values.astype(np.float64)))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_videos_are_given_up_only_if_they_cannot_be_among_the_likeliest(coarse: bool, scale: float) -> None:
    """Whether scores tie, probabilities differ from 1 no longer, or factors and lifts are unknown."""
    random = np.random.default_rng([int(coarse), int(scale)])
    users, videos = 37, 611
    plain = _joined(random, users=users, videos=videos, unknown=0.1)
    of_groups = random.normal(size=(users, 8)).round(1).astype(np.float32)
    of_groups[random.random(of_groups.shape) < 0.2] = np.nan
    of_video = random.integers(0, 9, videos)
    joined = replace(plain, names=(*NAMES, "lift"), pairs=(PairTable.dense(len(NAMES), of_groups, of_video),))
    (lifts,) = joined.pair_grid(np.arange(users))
    rows = np.concatenate([_rows(plain), lifts[..., None]], axis=2).reshape(-1, len(NAMES) + 1)
    known = np.nan_to_num(rows)
    target = scale * (known[:, 5] * known[:, 6] + known[:, 3] + random.normal(size=len(rows)))
    target = np.sign(target) * scale if coarse else target
    parameters = {"objective": "regression", "num_leaves": 9, "verbose": -1, "num_threads": 1}
    model = lgb.train(
        parameters, lgb.Dataset(rows, target, feature_name=[*NAMES, "lift"]), 3 if coarse else 90
    )
    forest = PairForest.of(model, joined)
    everyone = np.arange(users)
    leaves, als = forest.of_users(everyone), joined.als_grid(everyone)
    raw = forest.catalogue(leaves, everyone, als)
    # Users of many, of few and of no open videos.
    closed = random.random(raw.shape) < np.linspace(0, 1, users)[:, None]
    scored = 0
    for keep in (1, 20, 120):
        assert can_be_bounded(forest, keep)
        found = best_of_users(forest, leaves, everyone, np.packbits(closed, axis=1), keep)
        for user, (own, own_als, scores) in enumerate(one for _, part in found for one in part):
            np.testing.assert_array_equal(own_als, als[user, own])
            np.testing.assert_array_equal(scores, raw[user, own])
            expected = best_positions(expit(raw[user]), ~closed[user], keep)
            best = best_positions(expit(scores), np.ones(len(own), dtype=bool), keep)
            np.testing.assert_array_equal(own[best], expected)
            # All that tie for the last rank are there.
            if len(expected):
                last = expit(raw[user, expected]).min()
                assert set(np.flatnonzero(~closed[user] & (expit(raw[user]) >= last))) <= set(own.tolist())
            assert not closed[user, own].any()
            scored += len(own)
    if scale == 1 and not coarse:
        assert scored < 0.6 * 3 * (~closed).sum()
    assert not can_be_bounded(forest, 300)
