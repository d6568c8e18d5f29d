"""A feature in a user's own module: its values, its stamps, and the way from the module to the lists."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import apply_definitions
from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.catalogue import catalogue_of
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.features import build_features
from pipelines.features.expressed import build_expressed
from pipelines.model_rows.joined_features import join_features
from pipelines.pair_keys import with_groups
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.pair_ranker import scores_of_pairs
from pipelines.training_frame import FeatureFrame, entity_table
from scoring.database.publish import score_and_publish
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.own_features import MODULE, NAMES, VIEWS, expected
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight

LIKED_ABOVE = 0.6
LOG = make_log(3, users=10, videos=20, plays=600)
INSTANT = pl.Datetime("us", "UTC")
_MORE = (
    f'features.modules = ["pair_views", "my_features.py"]\ndata.targets.like_threshold = {LIKED_ABOVE}\n'
    "ranker.lightgbm.num_iterations = 12\nranker.lightgbm.min_data_in_leaf = 5\n"
    "evaluation.holdout_days = 2\nevaluation.backtest_days = 1\n"
)


def _home(folder: Path, patch: pytest.MonkeyPatch, log: SmallLog = LOG, more: str = "") -> Settings:
    folder.mkdir(parents=True)
    (folder / "my_features.py").write_text(MODULE, encoding="utf-8")
    home = folder / "home"
    more = more + _MORE.replace("my_features.py", "../my_features.py")
    return make_feature_home(home, log, patch, more_settings=more)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield _home(tmp_path_factory.mktemp("own") / "own", patch)


def _asked(log: SmallLog, instants: list[datetime]) -> pl.DataFrame:
    users = log.interactions.select(pl.col(columns.USER_ID).unique().sort()).head(4)
    videos = log.interactions.select(pl.col(columns.VIDEO_ID).unique().sort()).gather_every(3)
    at = pl.DataFrame({columns.EVENT_TIMESTAMP: pl.Series(instants, dtype=INSTANT)})
    return users.join(videos, how="cross").join(at, how="cross")


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    store = open_store()
    features = [f"{view}:{name}" for view, names in VIEWS.items() for name in names]
    entities = with_groups(store, entity_table(rows), ["own_user_first_level_category", "own_user_author"])
    return pl.DataFrame(store.get_historical_features(entity_df=entities, features=features).to_arrow())


def test_every_value_is_what_a_loop_over_the_log_counts(settings: Settings) -> None:
    """At midnights and beside them, before the log and long after its end, with windows that ran empty."""
    midnights = [midnight(FIRST_DAY + timedelta(days=day)) for day in (0, 1, 3, 6, 9, 11, 40)]
    beside = [one + timedelta(microseconds=1) * step for one in midnights[2:4] for step in (-1, 1)]
    rows = _asked(LOG, [*midnights, *beside, midnights[3] + timedelta(hours=13)])
    for row in _joined(rows).iter_rows(named=True):
        user, video, instant = (row[name] for name in (columns.USER_ID, columns.VIDEO_ID, "event_timestamp"))
        counted = expected(LOG, user, video, instant, LIKED_ABOVE)
        for name in NAMES:
            assert row[name] == (None if counted[name] is None else pytest.approx(counted[name], rel=1e-6)), (
                name,
                user,
                video,
                instant,
            )


def test_no_value_knows_of_its_own_day_or_a_later_one(settings: Settings) -> None:
    """Changing or removing everything from an instant on, authors too, changes no earlier value by a bit."""
    instant = midnight(FIRST_DAY + timedelta(days=5)) + timedelta(hours=9)
    rows = _asked(LOG, [instant, midnight(FIRST_DAY + timedelta(days=5)), instant - timedelta(days=2)])
    before = _joined(rows)
    later = pl.col(columns.EVENT_TIMESTAMP) >= instant
    other = LOG.interactions.with_columns(
        pl.when(later).then(9.0).otherwise(columns.WATCH_RATIO).cast(pl.Float32).alias(columns.WATCH_RATIO),
        pl.when(later).then(77_777).otherwise(columns.PLAY_DURATION).cast(pl.Int32).alias("play_duration"),
    )
    daily = LOG.video_daily.with_columns(
        pl.when(pl.col(columns.LOCAL_DATE) >= FIRST_DAY + timedelta(days=5))
        .then(pl.col(columns.AUTHOR_ID) + 50)
        .otherwise(columns.AUTHOR_ID)
        .alias(columns.AUTHOR_ID),
        pl.when(pl.col(columns.LOCAL_DATE) >= FIRST_DAY + timedelta(days=5))
        .then(12_345)
        .otherwise("show_cnt")
        .alias("show_cnt"),
    )
    try:
        for interactions in (other, LOG.interactions.filter(~later)):
            changed = LOG.with_interactions(interactions)
            SmallLog(changed.interactions, daily, LOG.users, LOG.video_captions).write(settings)
            build_features(settings)
            assert _joined(rows).equals(before, null_equal=True)
    finally:
        LOG.write(settings)
        build_features(settings)


def test_the_service_the_manifest_and_lightgbm_name_them_last_in_order(settings: Settings) -> None:
    train(settings)
    store = open_store()
    service = store.get_feature_service(columns.HYBRID_RANKER)
    names = [one.name for view in service.feature_view_projections for one in view.features]
    assert names[-len(NAMES) :] == list(NAMES)
    assert names[: -len(NAMES)][-1] == columns.CATEGORY_LIFT
    version = model_registry.champion(settings.paths)
    assert version.manifest["features"] == names
    assert "user_last_played" in version.manifest["categorical"]
    model = lgb.Booster(model_file=str(version.folder / "classifier.txt"))
    assert model.feature_name() == names
    published = score_and_publish(settings)
    assert published.summary["rows"] > 0


def test_rows_for_scoring_hold_what_feast_joins(settings: Settings) -> None:
    """Users, videos and pairs, as the fast kernel scores them, against Feast's own row for each."""
    train(settings)
    version = model_registry.champion(settings.paths)
    ranker = HybridRanker.load(version.folder)
    as_of = midnight(FIRST_DAY + timedelta(days=7))
    users = LOG.interactions[columns.USER_ID].unique().sort().to_numpy()[::-1]
    videos = LOG.interactions[columns.VIDEO_ID].unique().sort().to_numpy()
    store = open_store()
    joined = join_features(store, ranker.encoding, users, videos, as_of=as_of, zone=settings.data.zone)
    user, video = (axis.ravel() for axis in np.meshgrid(range(len(users)), range(len(videos)), indexing="ij"))
    plays = pl.DataFrame({columns.USER_ID: users[user], columns.VIDEO_ID: videos[video]}).with_columns(
        pl.lit(as_of, INSTANT).alias(columns.EVENT_TIMESTAMP)
    )
    rows = FeatureMatrix(FeatureFrame.join(store, plays, settings.data.zone), ranker.encoding)[:]
    grid = joined.pair_grid(np.arange(len(users)))
    for index, values in zip(joined.pair_indices[1:], grid, strict=True):
        np.testing.assert_array_equal(values.ravel(), rows[:, index])
    part = [table.of_users(slice(2, 5)).grid(np.arange(3)) for table in joined.pairs]
    for values, own in zip(grid, (one for table in part for one in table), strict=True):
        np.testing.assert_array_equal(values[2:5], own)
    als = rows[:, joined.als_index]
    for model in (ranker.classifier, ranker.regressor):
        found = scores_of_pairs(model, joined, user, video, als, threads=1)
        np.testing.assert_array_equal(found, model.predict(rows, raw_score=True))
    used = {
        int(i)
        for model in (ranker.classifier, ranker.regressor)
        for i in np.flatnonzero(model.feature_importance())
    }
    assert used & set(joined.pair_indices[1:]), "no tree asks of a pair: the test shows nothing"


@pytest.mark.slow
def test_next_day_reads_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = make_log(5, users=60, videos=40, plays=6_000, days=12)
    more = 'ranker.objective = "next_day"\nretrieval.sources = "recent_2d,als"\n'
    settings = _home(tmp_path / "next_day", monkeypatch, log, more)
    train(settings)
    version = model_registry.champion(settings.paths)
    names = NextDayRanker.load(version.folder, "next_day").names
    # A name that a row of a night already has gets its view in front.
    own = {
        (name if name != "first_level_category_plays" else f"own_user_first_level_category__{name}")
        for name in NAMES
    }
    assert own <= set(names)
    assert score_and_publish(settings).summary["rows"] > 0


def test_a_feature_that_is_taken_out_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _home(tmp_path / "out", monkeypatch)
    assert build_expressed(settings).skipped
    file = settings.paths.feature_source("own_shows")
    assert file.is_file()
    module = tmp_path / "out" / "my_features.py"
    module.write_text(
        MODULE.replace("features = [", "features = [][:0] + [").split('    Feature("video_shows')[0] + "]"
    )
    with pytest.raises(InputError, match=r"own_shows.*feast apply"):
        open_store()
    build_features(settings)
    assert not file.exists()
    apply_definitions(settings)
    assert "own_shows" not in {view.name for view in open_store().list_feature_views()}


BAD: list[tuple[str, str]] = [
    ("features = 3", "no list `features`"),
    ("import polars as pl\n1 / 0\n", "line 2: ZeroDivisionError"),
    ("def f(:\n", "line 1: SyntaxError"),
    ("('user_agg_interactions', entity='user', description='x', value=pl.len())]", "there already"),
    ("('author', entity='user', description='x', value=pl.len())]", "there already"),
    ("('A b', entity='user', description='x', value=pl.len())]", "not a name"),
    ("('a', entity='cat', description='x', value=pl.len())]", "no entity 'cat'"),
    ("('a', entity='user', description='x', value=3)]", "not a Polars expression"),
    ("('a', entity='user', description='', value=pl.len())]", "no description"),
    ("('a', entity='user', description='x', value=pl.len(), days=0)]", "days is 0"),
    (
        "('a', entity='user', description='x', value=pl.len(), table='x')]",
        "no rows in the table",
    ),
    ("('a', entity='user', description='x', value=pl.len(), type='string')]", "text is not a number"),
    (
        "('a', entity='user', description='x', value=pl.len(), view='user_profile')]",
        "has a view user_profile",
    ),
    ("('a', entity='user', description='x', value=pl.col('no_such').sum())]", "'a'.*no_such"),
    ("('a', entity='user', description='x', value=pl.col('watch_ratio'))]", "several values"),
    (
        "('a', entity='user', description='x', value=pl.col('watch_ratio').sum(), combine='sum')]",
        "not a whole number",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_what_is_wrong_is_said_in_a_line(settings: Settings, tmp_path: Path, text: str, said: str) -> None:
    module = tmp_path / "wrong.py"
    head = "import polars as pl\nfrom nightreel.core.catalogue import Feature\nfeatures = [Feature"
    module.write_text((head + text if text.startswith("(") else text), encoding="utf-8")
    changed = settings.changed({"features.modules": ("pair_views", str(module))})
    with pytest.raises(InputError, match=said) as caught:
        build_expressed(changed)
    assert "wrong.py" in str(caught.value) and "\n" not in str(caught.value)


def test_a_module_that_is_not_there(settings: Settings) -> None:
    for named, said in (
        ("/nowhere/at_all.py", "no such file"),
        ("no_such_module_at_all", "ModuleNotFoundError"),
    ):
        with pytest.raises(InputError, match=said):
            catalogue_of((made := settings.changed({"features.modules": (named,)})).data, made.features)


def test_the_setting_is_a_list_or_text_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    (tmp_path / "nightreel.toml").write_text('features.modules = ["a.py", "some.module"]\n')
    assert load_settings().features.modules == (str(tmp_path / "a.py"), "some.module")
    monkeypatch.setenv("NIGHTREEL_FEATURES_MODULES", "b.py, c.py")
    assert load_settings().features.modules == (str(tmp_path / "b.py"), str(tmp_path / "c.py"))
    monkeypatch.setenv("NIGHTREEL_FEATURES_MODULES", "b.py,b.py")
    with pytest.raises(InputError, match="named twice"):
        load_settings()
