"""What a night knows came before it: rows for training and scoring, and every system's lists of a past day.

Two logs, the same until CUT and different after it, must give the same. CUT is the start of the first day
that the backtest judges, so a feature, a source or a list that sees its own day differs.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.catalogue.night import night_view
from nightreel.core.settings import RETRIEVAL_SOURCES, Settings
from pipelines.backtest_files import Backtest, lists_file, shared_file
from pipelines.model_rows.joined_features import join_features
from pipelines.rankers import train
from pipelines.rankers.examples import Examples
from pipelines.rankers.past_nights import _night_of
from pipelines.rankers.training_data import TrainingData
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.training_frame import read_plays
from scoring.backtest import backtest
from scoring.lists.eligibility import default_as_of, find_candidates
from scoring.lists.next_day import night_of
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight

# One day from CUT on, which is all that is asked; the holdout, which no model learns from, begins there too.
LOG = make_log(9, users=60, videos=80, plays=7_000, days=7)
CUT = midnight(FIRST_DAY + timedelta(days=6))
CUT_US = round(CUT.timestamp() * 1_000_000)
# On this log the transformer is no better than popularity, so that it is not used: test_retrieval.py and
# test_sequence.py ask it on others.
SOURCES = tuple(name for name in RETRIEVAL_SOURCES if name != "sequence")
SETTINGS = f"""ranker.objective = "next_day"
retrieval.sources = "{",".join(SOURCES)}"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.early_stopping_round = 10
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 8
lists.shared.related_k = 5
lists.shared.popular_k = 8
lists.shared.segments = ["user_active_degree"]
evaluation.holdout_days = 1
evaluation.backtest_days = 1
"""
SYSTEMS = (
    *("hybrid", "hybrid_next_day", "hybrid_shown", "classifier", "regressor"),
    *("popularity_1_day", "popularity_3_days", "popularity_7_days", "popularity_half_life"),
    *(f"source_{name}" for name in SOURCES),
)
SHARED = ("related", "popular")
Found = dict[str, Any]


@pytest.fixture(scope="module")
def two_futures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    """What each of the two logs gives as of CUT."""
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    before, after = (LOG.interactions.filter(part) for part in (stamp < CUT, stamp >= CUT))
    turned = after.gather_every(2).with_columns(
        pl.col(columns.VIDEO_ID).reverse(),
        (4 - pl.col(columns.WATCH_RATIO)).alias(columns.WATCH_RATIO).cast(pl.Float32),
    )
    # A video of which nothing is known until the day itself, most liked on it.
    new = turned.head(60).with_columns(
        pl.lit(9_999).cast(pl.Int64).alias(columns.VIDEO_ID),
        pl.lit(3.0).cast(pl.Float32).alias(columns.WATCH_RATIO),
    )
    # What is counted of a day is known when it has ended.
    of_day = pl.col(columns.LOCAL_DATE) >= FIRST_DAY + timedelta(days=6)
    counts = [
        pl.when(of_day).then(pl.col(name) + 1_000).otherwise(pl.col(name)) for name in columns.DAILY_COUNTS
    ]
    # So is who a video is by, its tag and its length.
    others = {
        columns.AUTHOR_ID: pl.col(columns.VIDEO_ID) % 3,
        columns.VIDEO_TAG: pl.col(columns.VIDEO_TAG).fill_null(0) + 1,
        columns.VIDEO_DURATION: pl.col(columns.VIDEO_DURATION) + 20_000,
    }
    said = [
        pl.when(of_day).then(other.cast(LOG.video_daily.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, other in others.items()
    ]
    daily = LOG.video_daily.with_columns(counts).with_columns(said)
    other = replace(LOG.with_interactions(pl.concat([before, turned, new])), video_daily=daily)
    was, now = (_as_of_cut(tmp_path_factory.mktemp("future") / "home", log) for log in (LOG, other))
    return was, now


def _as_of_cut(home: Any, log: Any) -> Found:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(home, log, patch, more_settings=SETTINGS)
        train(settings)
        backtest(settings)
        lists = Backtest.load(settings.paths)
        assert lists is not None and lists.days[0].as_of == CUT
        return {
            "training": _rows_for_training(settings),
            "scoring": _rows_for_scoring(settings),
            "systems": lists.systems,
            **{
                system: pl.read_parquet(lists_file(settings.paths, lists.days[0].day, system))
                for system in lists.systems
            },
            **{
                kind: pl.read_parquet(shared_file(settings.paths, lists.days[0].day, kind)) for kind in SHARED
            },
        }


def _rows_for_training(settings: Settings) -> Found:
    """As an example of the night at CUT has them, everything open, by the code that makes examples."""
    plays, store = read_plays(settings.paths), open_store()
    encoding = TrainingData.join(store, settings).encoding
    users = np.unique(plays.filter(pl.col(columns.EVENT_TIMESTAMP) < CUT)[columns.USER_ID].to_numpy())
    instants = np.full(len(users), CUT_US)
    night = _night_of(
        Examples(CUT, users, instants, instants + 1),
        plays=plays,
        # The log until its end, as for a night that trains: outcomes are read from it.
        index=PlaysByUser(
            Past.of(
                plays,
                default_as_of(settings.paths, settings.data, midnight(FIRST_DAY.replace(year=2030))),
                settings.data,
            )
        ),
        store=store,
        encoding=encoding,
        settings=settings,
    )
    opened = np.ones((len(users), int(night.is_listable.sum())), dtype=bool)
    rows = night.rows(users, instants, np.arange(len(users)), opened, at_least=10_000)
    return _by_feature(night, rows, users)


def _rows_for_scoring(settings: Settings) -> Found:
    store = open_store()
    encoding = TrainingData.join(store, settings).encoding
    candidates = find_candidates(settings, store, CUT)
    users = candidates.user_id
    joined = join_features(store, encoding, users, candidates.video_id, as_of=CUT, zone=settings.data.zone)
    night = night_of(candidates, joined, read_plays(settings.paths), CUT, settings)
    opened = candidates.open_to(slice(None))
    instants = np.full(len(users), CUT_US)
    rows = night.rows(users, instants, np.arange(len(users)), opened, at_least=10_000)
    return _by_feature(night, rows, users)


def _by_feature(night: Any, rows: Any, users: np.ndarray) -> Found:
    """Features by name, of the pairs in their order, and which pairs there are."""
    pairs = np.column_stack([users[rows.user], night.catalogue.video_id[rows.video]])
    named = {name: rows.features[:, number] for number, name in enumerate(night.names)}
    return {"pairs": pairs, "raw_als_score": rows.als_score, "brought_by": rows.brought_by} | named


@pytest.mark.parametrize("rows_of", ["training", "scoring"])
def test_no_feature_of_a_night_sees_the_day_that_it_begins(
    two_futures: tuple[Found, Found], rows_of: str
) -> None:
    was, now = (found[rows_of] for found in two_futures)
    assert was.keys() == now.keys() and len(was["pairs"]) > 500
    features = {*night_view(SOURCES).names}
    assert {*SOURCES, *(f"{name}_rank" for name in SOURCES)} <= features
    assert features == was.keys() - {"pairs", "raw_als_score", "brought_by"}
    # Nobody is listed a video that they had played; any other feature that is empty would always be the same.
    empty = {name for name in features if np.isnan(was[name]).all() or not was[name].any()}
    assert empty == (set() if rows_of == "training" else {"video_played", "days_since_video"})
    assert [name for name in was if not np.array_equal(was[name], now[name], equal_nan=True)] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_no_list_of_a_past_day_sees_the_day_itself(two_futures: tuple[Found, Found], system: str) -> None:
    was, now = two_futures
    assert was["systems"] == now["systems"] == SYSTEMS
    assert was[system].height > 50
    assert was[system].equals(now[system])


@pytest.mark.parametrize("kind", SHARED)
def test_no_list_that_is_not_a_users_sees_the_day_itself(two_futures: tuple[Found, Found], kind: str) -> None:
    was, now = (found[kind] for found in two_futures)
    assert was.height > 20
    assert was.equals(now)
