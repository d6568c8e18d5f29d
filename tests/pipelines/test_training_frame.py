"""The training frame: a row a play, equal to Feast's own join, blind to the future and to its own outcome."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines.rankers import FeatureEncoding
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.training_frame import FeatureFrame, Thinned, read_plays
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

LOG = make_log(5)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("frame") / "home", LOG, patch)


@pytest.fixture(scope="module")
def frame(settings: Settings) -> FeatureFrame:
    return FeatureFrame.join(open_store(), read_plays(settings.paths), settings.data.zone)


def _encoding(frame: FeatureFrame) -> FeatureEncoding:
    rows = slice(0, len(frame))
    return FeatureEncoding.fit(frame.names, frame.values(rows, BUILTIN.categorical))


def test_every_feature_of_the_original_is_there(frame: FeatureFrame) -> None:
    original = {
        *columns.USER_CATEGORICALS,
        *columns.ONEHOT_FEATURES,
        columns.USER_AGG_INTERACTIONS,
        columns.USER_AGG_UNIQUE_VIDEOS,
        *columns.CATEGORY_LEVELS,
        columns.AUTHOR_ID,
        *columns.TEXT_FEATURES,
        *columns.AVERAGE_DAILY_COUNTS,
        columns.VIDEO_AGG_VIEWS,
        columns.VIDEO_AGG_UNIQUE_USERS,
        columns.VIDEO_DURATION,
        columns.HOUR_OF_DAY,
        columns.DAY_OF_WEEK,
        columns.ALS_SCORE,
    }
    assert original <= set(frame.names)
    assert len(set(frame.names)) == len(frame.names)


def test_blocks_equal_what_feast_itself_returns(frame: FeatureFrame) -> None:
    """Row by row and feature by feature, those on demand included."""
    encoding = _encoding(frame)
    theirs = encoding.encode(frame.job.to_arrow(), frame.names)
    ours = FeatureMatrix(frame, encoding)[0 : len(frame)]
    assert ours.shape == (LOG.interactions.height, len(frame.names))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    als = ours[:, frame.names.index(columns.ALS_SCORE)]
    assert 0.2 < np.isnan(als).mean() < 0.8  # null before the first refit, there after it


def test_any_rows_in_any_order_are_those_of_the_whole(frame: FeatureFrame) -> None:
    matrix = FeatureMatrix(frame, _encoding(frame))
    whole = matrix[0 : len(frame)]
    chosen = np.array([600, 3, 3, 0, 411])
    np.testing.assert_array_equal(matrix[chosen], whole[chosen])
    np.testing.assert_array_equal(matrix[100:100], whole[:0])


def test_repeated_plays_and_unknown_users_and_videos_keep_their_rows(settings: Settings) -> None:
    plays = read_plays(settings.paths)
    stranger = plays.tail(1).with_columns(pl.lit(999_999, pl.Int64).alias(columns.USER_ID))
    nowhere = plays.tail(1).with_columns(pl.lit(888_888, pl.Int64).alias(columns.VIDEO_ID))
    rows = pl.concat([plays, stranger, plays.head(2), nowhere])
    joined = FeatureFrame.join(open_store(), rows, settings.data.zone)
    matrix = FeatureMatrix(joined, _encoding(joined))
    assert len(joined) == rows.height
    whole = matrix[0 : len(joined)]
    np.testing.assert_array_equal(whole[plays.height + 1 : plays.height + 3], whole[:2])
    als = joined.names.index(columns.ALS_SCORE)
    assert np.isnan(whole[[plays.height, -1], als]).all()
    assert not np.isnan(whole[plays.height - 1, als])


def test_hour_and_weekday_are_local(settings: Settings) -> None:
    """2020-07-05 00:08:23.438 in Shanghai is hour 0 of a Sunday, though it is Saturday 16:08 in UTC."""
    play = (
        read_plays(settings.paths)
        .head(1)
        .with_columns(
            pl.lit(datetime.fromisoformat("2020-07-05T00:08:23.438+08:00"))
            .dt.convert_time_zone("UTC")
            .dt.cast_time_unit("us")
            .alias(columns.EVENT_TIMESTAMP)
        )
    )
    joined = FeatureFrame.join(open_store(), play, settings.data.zone)
    row = dict(zip(joined.names, FeatureMatrix(joined, _encoding(joined))[0:1][0], strict=True))
    assert (row[columns.HOUR_OF_DAY], row[columns.DAY_OF_WEEK]) == (0, 6)


def test_categories_are_those_of_the_given_rows_only(frame: FeatureFrame) -> None:
    few = frame.values(slice(0, 5), [columns.AUTHOR_ID, columns.USER_CATEGORICALS[0]])
    whole = frame.job.to_arrow().slice(0, 5)
    for name, values in few.items():
        expected = set(whole.column(name).drop_null().to_pylist())
        assert set(values.drop_null().to_pylist()) == expected


def _every_outcome_changed(plays: pl.DataFrame, instant: datetime) -> pl.DataFrame:
    later = pl.col(columns.EVENT_TIMESTAMP) >= instant
    return plays.with_columns(
        pl.when(later).then(pl.col(columns.WATCH_RATIO) * 3 + 1).otherwise(pl.col(columns.WATCH_RATIO)),
        pl.when(later).then(77_777).otherwise(pl.col(columns.PLAY_DURATION)).cast(pl.Int32),
    )


def _every_later_play_removed(plays: pl.DataFrame, instant: datetime) -> pl.DataFrame:
    return plays.filter(pl.col(columns.EVENT_TIMESTAMP) < instant)


@pytest.mark.parametrize("change", [_every_outcome_changed, _every_later_play_removed])
def test_features_up_to_an_instant_are_blind_to_all_from_it_on(
    frame: FeatureFrame,
    change: Callable[[pl.DataFrame, datetime], pl.DataFrame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The instant is that of a play: its own outcome, and those of the same instant, count as the future."""
    instant = LOG.interactions[columns.EVENT_TIMESTAMP][500]
    untouched = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) <= instant)
    altered = make_feature_home(
        tmp_path / "home", LOG.with_interactions(change(LOG.interactions, instant)), monkeypatch
    )
    encoding = _encoding(frame)
    after = FeatureFrame.join(open_store(), untouched, altered.data.zone)
    np.testing.assert_array_equal(
        FeatureMatrix(after, encoding)[0 : untouched.height],
        FeatureMatrix(frame, encoding)[0 : untouched.height],
    )


def test_before_ingest_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTREEL_HOME", raising=False)
    with pytest.raises(InputError, match="nightreel ingest"):
        read_plays(Settings(home=tmp_path).paths)


def test_a_stamp_one_microsecond_late_is_not_seen(settings: Settings) -> None:
    """A day's aggregates are stamped at its end: a play a microsecond before that does not see them."""
    activity = pl.read_parquet(settings.paths.feature_source(columns.USER_ACTIVITY))
    user, stamp, plays_so_far = activity.select(
        columns.USER_ID, columns.EVENT_TIMESTAMP, columns.USER_AGG_INTERACTIONS
    ).row(0)
    video = LOG.interactions[columns.VIDEO_ID][0]
    rows = pl.DataFrame(
        {
            columns.USER_ID: [user, user],
            columns.VIDEO_ID: [video, video],
            columns.EVENT_TIMESTAMP: [stamp - timedelta(microseconds=1), stamp],
        },
        schema_overrides={columns.EVENT_TIMESTAMP: pl.Datetime("us", "UTC")},
    )
    joined = FeatureFrame.join(open_store(), rows, settings.data.zone)
    seen = FeatureMatrix(joined, _encoding(joined))[0:2][:, joined.names.index(columns.USER_AGG_INTERACTIONS)]
    np.testing.assert_array_equal(seen, np.array([np.nan, plays_so_far], dtype=np.float32))


def test_plays_that_are_left_out_change_no_row_of_the_others(settings: Settings, frame: FeatureFrame) -> None:
    """A long log is learnt from in part: the other plays are not joined, and rows keep their numbers."""
    encoding, plays = _encoding(frame), read_plays(settings.paths)
    half = Thinned(len(plays) // 2 + 1, 3)
    some = FeatureMatrix(FeatureFrame.join(open_store(), plays, settings.data.zone, half), encoding)
    every = FeatureMatrix(frame, encoding)

    assert len(some) == len(half.of(plays)) < len(plays)
    later = np.arange(half.first, len(plays))
    for rows in (np.arange(0, half.first, 3), later, np.append(np.arange(3, half.first, 6), later[::2])):
        np.testing.assert_array_equal(some[rows.astype(np.uint32)], every[rows])
    np.testing.assert_array_equal(some[4 : len(plays)], every[np.append(np.arange(6, half.first, 3), later)])
    with pytest.raises(IndexError):
        some[np.array([1])]
