"""Likes by category: what Feast joins is what a plain loop over the log counts; no day is known too early."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.settings import Settings
from pipelines.features import build_features, category_counts
from pipelines.model_rows.joined_features import join_features
from pipelines.rankers import FeatureEncoding
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.training_frame import FeatureFrame, entity_table, read_plays
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import FIRST_DAY, SHANGHAI, make_log, midnight
from tests.fixtures.tables import read_source

_LEVEL = columns.CATEGORY_LEVELS[0]
_LOG = make_log(3)
_NONE, _LATE = (int(_LOG.video_captions[columns.VIDEO_ID][row]) for row in (0, 1))
_ARRIVED = midnight(FIRST_DAY + timedelta(days=4)) + timedelta(hours=2)
# One video never has a category, and another only once its caption has arrived.
LOG = replace(
    _LOG,
    video_captions=_LOG.video_captions.with_columns(
        pl.when(pl.col(columns.VIDEO_ID) != _NONE).then(_LEVEL).alias(_LEVEL),
        pl.when(pl.col(columns.VIDEO_ID) == _LATE)
        .then(pl.lit(_ARRIVED, pl.Datetime("us", "UTC")))
        .otherwise(pl.lit(datetime.fromisoformat("1970-01-01T00:00:00+00:00"), pl.Datetime("us", "UTC")))
        .alias(columns.CREATED_TIMESTAMP),
    ),
)
CATEGORIES = dict(LOG.video_captions.select(columns.VIDEO_ID, _LEVEL).rows())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("categories") / "home", LOG, patch)


def _asked() -> pl.DataFrame:
    """Every user, and one unknown, with every video, at days' beginnings and amidst days."""
    users = [*LOG.interactions[columns.USER_ID].unique().sort(), 999_999]
    instants = [
        midnight(FIRST_DAY + timedelta(days=day)) + timedelta(hours=hours)
        for day, hours in ((0, 5), (2, 0), (4, 0), (4, 3), (5, 0), (9, 1))
    ]
    return (
        pl.DataFrame({columns.USER_ID: users})
        .join(LOG.video_captions.select(columns.VIDEO_ID), how="cross")
        .join(pl.DataFrame({columns.EVENT_TIMESTAMP: instants}), how="cross")
        .with_columns(pl.col(columns.EVENT_TIMESTAMP).dt.cast_time_unit("us"))
    )


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    features = [f"{columns.CATEGORY_LIFT_VIEW}:{columns.CATEGORY_LIFT}"]
    job = open_store().get_historical_features(entity_df=entity_table(rows), features=features)
    return pl.DataFrame(job.to_arrow())


def _expected(
    asked: dict[str, Any], usual: dict[int, list[tuple[datetime, float]]], liked_above: float
) -> float:
    """NaN where it is unknown."""
    user, video, instant = (
        asked[name] for name in (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    )
    known = video != _NONE and (video != _LATE or instant >= _ARRIVED)
    counted = []
    for play in LOG.interactions.iter_rows(named=True):
        if play[columns.USER_ID] != user or play[columns.VIDEO_ID] == _NONE:
            continue
        day = play[columns.EVENT_TIMESTAMP].astimezone(SHANGHAI).date() + timedelta(days=1)
        if play[columns.VIDEO_ID] == _LATE:
            day = max(day, _ARRIVED.astimezone(SHANGHAI).date() + timedelta(days=1))
        if midnight(day) <= instant:
            counted.append((midnight(day), play))
    if not counted or not known:
        return float("nan")
    last = max(day for day, _ in counted)
    share = [value for stamp, value in usual[user] if stamp <= last][-1]
    own = [play for _, play in counted if CATEGORIES[play[columns.VIDEO_ID]] == CATEGORIES[video]]
    liked = sum(play[columns.WATCH_RATIO] > liked_above for play in own)
    return float((liked - len(own) * share) / (len(own) + 5))


def test_the_lift_is_what_a_loop_over_the_log_counts(home: Settings) -> None:
    activity = pl.read_parquet(home.paths.feature_source(columns.USER_ACTIVITY))
    usual: dict[int, list[tuple[datetime, float]]] = {}
    for user, stamp, share in activity.select(
        columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_LIKED_SHARE
    ).iter_rows():
        usual.setdefault(user, []).append((stamp, share))
    rows = _asked()
    found = _joined(rows)[columns.CATEGORY_LIFT].to_numpy()
    expected = [_expected(row, usual, home.data.targets.like_threshold) for row in rows.iter_rows(named=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (np.abs(found[~np.isnan(found)]) > 0.01).mean() > 0.5


def test_the_parts_that_it_is_built_in_do_not_matter(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    source = home.paths.feature_source(columns.USER_CATEGORIES)
    whole = pl.read_parquet(source)
    monkeypatch.setattr(category_counts, "_CELLS", 10)
    build_features(home, force=True)
    assert pl.read_parquet(source).equals(whole)


def test_without_categories_there_is_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = LOG.video_captions.with_columns(pl.lit(None, pl.Int32).alias(_LEVEL))
    home = make_feature_home(tmp_path / "home", replace(LOG, video_captions=captions), monkeypatch)
    assert pl.read_parquet(home.paths.feature_source(columns.USER_CATEGORIES)).is_empty()
    store, plays = open_store(), read_plays(home.paths)
    frame = FeatureFrame.join(store, plays, home.data.zone)
    encoding = FeatureEncoding.fit(frame.names, frame.values(slice(0, len(frame)), BUILTIN.categorical))
    position = frame.names.index(columns.CATEGORY_LIFT)
    assert np.isnan(FeatureMatrix(frame, encoding)[:][:, position]).all()
    users, videos = (plays[key].unique().sort().to_numpy() for key in (columns.USER_ID, columns.VIDEO_ID))
    joined = join_features(store, encoding, users, videos, as_of=_ARRIVED, zone=home.data.zone)
    assert np.isnan(joined.pair_grid(np.arange(len(users)))[0]).all()


def test_a_night_that_brings_plays_and_other_categories_is_as_if_all_were_built_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of days does not outlive a category that changes, comes late or goes."""
    first = LOG.interactions.head(LOG.interactions.height * 3 // 4)
    home = make_feature_home(tmp_path / "home", LOG.with_interactions(first), monkeypatch)
    played = LOG.interactions[columns.VIDEO_ID].value_counts(sort=True)[columns.VIDEO_ID].to_list()
    changed, gone = [one for one in played if one not in (_NONE, _LATE)][:2]
    video, level = pl.col(columns.VIDEO_ID), pl.col(_LEVEL)
    captions = LOG.video_captions.with_columns(
        pl.when(video == changed)
        .then(level + 1)
        .when(video == _NONE)
        .then(pl.lit(1, pl.Int32))
        .when(video != gone)
        .then(level)
        .alias(_LEVEL),
        pl.when(video == _NONE)
        .then(pl.lit(_ARRIVED + timedelta(days=2), pl.Datetime("us", "UTC")))
        .otherwise(columns.CREATED_TIMESTAMP)
        .alias(columns.CREATED_TIMESTAMP),
    )
    source = home.paths.feature_source(columns.USER_CATEGORIES)
    for log in (LOG, replace(LOG, video_captions=captions)):
        log.write(home)
        build_features(home)
        another_night = read_source(source)
        build_features(home, force=True)
        assert read_source(source).equals(another_night)
