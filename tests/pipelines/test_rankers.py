"""The fitted rankers: what they learn from, that they repeat, and how their scores become one order."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.labels import LengthBuckets, Targets, targets
from pipelines.model_rows.ordering import received
from pipelines.rankers import FeatureEncoding, HybridRanker, boosting, hybrid_order, hybrid_scores
from pipelines.rankers.binning import Binning, Part
from pipelines.rankers.boosting import BinnedPlays
from pipelines.rankers.data_sets import silence_lightgbm
from pipelines.rankers.filtering import filter_size
from pipelines.rankers.slices import Slices

ROWS = 6_000
NAMES = ("noise", columns.AUTHOR_ID, columns.VIDEO_DURATION)
ENCODING = FeatureEncoding(NAMES, {columns.AUTHOR_ID: tuple(range(40))})
SLICES = Slices(slice(0, 4_000), slice(4_000, 5_000), slice(5_000, ROWS))


def _log(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A matrix and ratios that depend on an author (a code) and fall with the length."""
    random = np.random.default_rng(seed)
    matrix = np.column_stack(
        [random.normal(size=ROWS), random.integers(0, 40, ROWS), random.integers(3_000, 60_000, ROWS)]
    ).astype(np.float32)
    matrix[random.random(ROWS) < 0.1, 1] = np.nan
    author = np.where(np.isnan(matrix[:, 1]), 0.0, np.sin(np.nan_to_num(matrix[:, 1])))
    ratio = np.exp(author + random.normal(0, 0.3, ROWS)) * 9_000 / matrix[:, 2]
    return matrix, ratio.astype(np.float32)


MATRIX, RATIO = _log()
VIDEO = np.random.default_rng(2).integers(0, 300, ROWS)
ANY_LENGTH = LengthBuckets.fit(RATIO, MATRIX[:, 2])


def _wanted(ratio: np.ndarray) -> Targets:
    return targets("ratio", ANY_LENGTH, ratio, MATRIX[:, 2], Settings(home=Path()).data)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.model_validate(
        {
            "home": tmp_path_factory.mktemp("home"),
            "threads": 1,
            "ranker.lightgbm.num_iterations": 60,
            "ranker.lightgbm.learning_rate": 0.1,
        }
    )


@pytest.fixture(scope="module")
def ranker(settings: Settings) -> HybridRanker:
    return _fit(_wanted(RATIO), settings)


def _fit(wanted: Targets, settings: Settings) -> HybridRanker:
    binned = BinnedPlays.of(MATRIX, SLICES, video_id=VIDEO, encoding=ENCODING, settings=settings)
    return binned.fit(wanted, SLICES, settings)


def test_lightgbm_prints_nothing_though_one_thread_makes_a_model_and_another_grows_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """No split gains anything here, which LightGBM says for each tree if it is let."""
    quiet = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lgb.Booster(quiet, lgb.Dataset(np.zeros((50, 1)), label=np.arange(50) % 2, params=quiet))
    with ThreadPoolExecutor(1, initializer=silence_lightgbm) as pool:
        pool.submit(booster.update).result()
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def _texts(ranker: HybridRanker) -> tuple[str, str]:
    return ranker.classifier.model_to_string(), ranker.regressor.model_to_string()


def _trees(text: str) -> str:
    """A model without the parameters that it was fitted with."""
    return text.partition("\nparameters:")[0]


def test_both_models_predict_what_they_were_asked_to(ranker: HybridRanker, settings: Settings) -> None:
    unseen = MATRIX[SLICES.holdout]
    liked = RATIO[SLICES.holdout] > settings.data.targets.like_threshold
    probability = ranker.classify(unseen)
    assert ((probability > 0) & (probability < 1)).all()
    assert ((probability > 0.5) == liked).mean() > 0.85
    clipped = np.minimum(RATIO[SLICES.holdout], settings.data.targets.watch_ratio_clip)
    assert np.corrcoef(ranker.regress(unseen), clipped)[0, 1] > 0.8


def test_ratios_above_the_clip_count_as_the_clip(ranker: HybridRanker, settings: Settings) -> None:
    extreme = np.where(settings.data.targets.watch_ratio_clip < RATIO, np.float32(500.0), RATIO)
    assert (extreme != RATIO).any()
    assert _texts(_fit(_wanted(extreme), settings)) == _texts(ranker)


def test_codes_are_categories_not_amounts(ranker: HybridRanker) -> None:
    splits = ranker.classifier.trees_to_dataframe().dropna(subset="split_feature")
    kinds = splits.groupby("split_feature")["decision_type"].unique()
    assert kinds[columns.AUTHOR_ID].tolist() == ["=="]
    assert kinds[columns.VIDEO_DURATION].tolist() == ["<="]


def test_the_same_input_gives_the_same_models(ranker: HybridRanker, settings: Settings) -> None:
    assert _texts(_fit(_wanted(RATIO), settings)) == _texts(ranker)


def test_holdout_outcomes_reach_no_model(ranker: HybridRanker, settings: Settings) -> None:
    altered = RATIO.copy()
    altered[SLICES.holdout] = 9.0
    assert _texts(_fit(_wanted(altered), settings)) == _texts(ranker)


def test_the_last_days_only_say_when_to_stop(ranker: HybridRanker, settings: Settings) -> None:
    """With shuffled outcomes in that slice fewer trees remain, and those are the same trees."""
    altered = RATIO.copy()
    altered[SLICES.stop] = np.random.default_rng(1).permutation(altered[SLICES.stop])
    eager = settings.changed({"ranker.lightgbm.early_stopping_round": 3})
    stopped = _fit(_wanted(altered), eager)
    assert 0 < stopped.regressor.num_trees() < ranker.regressor.num_trees()
    first = stopped.regressor.num_trees()
    np.testing.assert_array_equal(
        stopped.regress(MATRIX[:100]), ranker.regressor.predict(MATRIX[:100], num_iteration=first)
    )


def test_saved_models_are_text_and_predict_the_same_bits(ranker: HybridRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "model")
    loaded = HybridRanker.load(tmp_path / "model")
    assert loaded.feature_names == NAMES
    np.testing.assert_array_equal(loaded.classify(MATRIX), ranker.classify(MATRIX))
    np.testing.assert_array_equal(loaded.regress(MATRIX), ranker.regress(MATRIX))
    for path in (tmp_path / "model").iterdir():
        path.read_text(encoding="utf-8")
        assert path.suffix in {".txt", ".json"}


def test_trees_do_not_depend_on_the_number_of_threads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that grow side by side, on parts of the log, are those that grow one after the other."""
    monkeypatch.setattr("pipelines.rankers.boosting.TREE_ROWS", 1_000)
    parts = settings.changed({"ranker.lightgbm.num_iterations": 12})
    alone, beside = (_texts(_fit(_wanted(RATIO), parts.changed({"threads": n}))) for n in (1, 4))
    assert [_trees(text) for text in alone] == [_trees(text) for text in beside]


def test_scores_do_not_depend_on_the_number_of_threads(ranker: HybridRanker) -> None:
    np.testing.assert_array_equal(
        replace(ranker, threads=2).classify(MATRIX), replace(ranker, threads=1).classify(MATRIX)
    )


def test_no_rows_give_no_scores(ranker: HybridRanker) -> None:
    assert ranker.classify(MATRIX[:0]).shape == (0,)


def test_importances_name_what_decides(ranker: HybridRanker) -> None:
    rows = ranker.importances()
    assert {row["feature"] for row in rows} == set(NAMES)
    assert rows[-1]["feature"] == "noise"
    for model in ("classifier", "regressor"):
        assert sum(float(row[f"{model}_gain"]) for row in rows) == pytest.approx(1.0)


def test_filter_keeps_the_most_probable_and_the_regressor_orders_them() -> None:
    classified = np.array([0.9, 0.8, 0.7, 0.1])
    regressed = np.array([1.0, 3.0, 2.0, 9.0])
    order = hybrid_order(classified, regressed, np.array([4, 3, 2, 1]), filter_k=2)
    assert order.tolist() == [1, 0, 2, 3]


def test_ties_of_the_hybrid_go_to_the_smaller_video() -> None:
    same = np.ones(4)
    assert hybrid_order(same, same, np.array([40, 10, 30, 20]), filter_k=2).tolist() == [1, 3, 2, 0]


def test_where_the_classifier_ties_the_ordering_decides_what_the_filter_keeps() -> None:
    same, ordering = np.full(4, 0.5), np.array([1.0, 4.0, 3.0, 2.0])
    video = np.array([1, 2, 3, 4])
    assert hybrid_order(same, ordering, video, filter_k=2).tolist() == [1, 2, 3, 0]
    scores = hybrid_scores(np.zeros(4), video, same, ordering, filter_k=2, catalogue=4)
    assert np.argsort(-scores).tolist() == [1, 2, 3, 0]


def test_where_both_stages_tie_what_all_users_received_better_comes_first() -> None:
    same, video = np.full(5, 0.5), np.array([1, 2, 3, 4, 5])
    well = received(np.array([np.nan, 0.2, 0.3, 0.2, 0.3]), np.array([9.0, 5.0, 1.0, 7.0, 1.0]))
    assert hybrid_order(same, same, video, 2, received=well).tolist() == [2, 4, 3, 1, 0]
    scores = hybrid_scores(np.zeros(5), video, same, same, filter_k=2, catalogue=5, received=well)
    assert np.argsort(-scores).tolist() == [2, 4, 3, 1, 0]


def test_no_filter_is_smaller_than_a_list() -> None:
    short = Settings.model_validate({"home": Path(), "lists.top_k": 100, "ranker.filter_k": 20})
    assert [
        filter_size(short.ranker, short.lists),
        filter_size(short.ranker, short.lists, 50),
        filter_size(short.ranker, short.lists, 200),
    ] == [100, 100, 200]


few = st.sampled_from([0.0, 0.25, 0.5])


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), few, few), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_scores_of_many_users_order_each_as_alone(
    rows: list[tuple[int, float, float]], filter_k: int
) -> None:
    user, classified, regressed = (np.array(values) for values in zip(*rows, strict=True))
    video = np.random.default_rng(0).permutation(len(user))
    scores = hybrid_scores(user, video, classified, regressed, filter_k=filter_k, catalogue=60)
    for one in np.unique(user):
        mine = user == one
        kept = int(np.ceil(mine.sum() * filter_k / 60))
        alone = hybrid_order(classified[mine], regressed[mine], video[mine], kept)
        assert video[mine][np.argsort(-scores[mine])].tolist() == video[mine][alone].tolist()


@pytest.fixture
def in_four_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the 4,000 rows."""
    monkeypatch.setattr(boosting, "TREE_ROWS", 1_000)


@pytest.mark.usefixtures("in_four_parts")
def test_a_log_in_parts_is_learnt_as_well_as_whole(ranker: HybridRanker, settings: Settings) -> None:
    in_parts = _fit(_wanted(RATIO), settings)
    unseen, clipped = (
        MATRIX[SLICES.holdout],
        np.minimum(RATIO[SLICES.holdout], settings.data.targets.watch_ratio_clip),
    )
    liked = RATIO[SLICES.holdout] > settings.data.targets.like_threshold
    assert ((in_parts.classify(unseen) > 0.5) == liked).mean() > 0.85
    errors = [np.abs(model.regress(unseen) - clipped).mean() for model in (in_parts, ranker)]
    assert errors[0] < 1.25 * errors[1]


@pytest.mark.usefixtures("in_four_parts")
def test_parts_repeat_to_the_last_bit(settings: Settings) -> None:
    one, two = (_fit(_wanted(RATIO), settings) for _ in range(2))
    assert _texts(one) == _texts(two)


@pytest.mark.usefixtures("in_four_parts")
@pytest.mark.parametrize("share", [0.1, 0.471, 0.99, 1.0])
def test_parts_give_the_trees_of_lightgbms_own_way(
    settings: Settings, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which scores a part that is new to the model itself, and goes on drawing features."""
    own = settings.changed({"ranker.lightgbm.feature_fraction": share})
    ours = _texts(_fit(_wanted(RATIO), own))
    part = Binning.part

    def without_features(own: Binning, rows: range | np.ndarray, *, in_strands: bool = False) -> Part:
        return replace(part(own, rows, in_strands=in_strands), features=None)

    monkeypatch.setattr(Binning, "part", without_features)
    theirs = _texts(_fit(_wanted(RATIO), own))
    assert [_trees(text) for text in ours] == [_trees(text) for text in theirs]


@pytest.mark.usefixtures("in_four_parts")
@pytest.mark.parametrize("row", [0, 1, 2, 3, 3_999])
def test_every_part_is_learnt_from(settings: Settings, row: int) -> None:
    """What came of any one play matters to the models, whichever part it falls into."""
    some = settings.changed({"ranker.lightgbm.early_stopping_round": 60})
    other = RATIO.copy()
    other[row] = 4.9 if other[row] < 1 else 0.01
    models = [_fit(_wanted(ratio), some) for ratio in (RATIO, other)]
    assert _texts(models[0]) != _texts(models[1])
