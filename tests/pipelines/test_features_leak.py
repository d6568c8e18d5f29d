"""No feature of a row changes with what happens at or after its instant: all through Feast's own join."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.features import build_features
from pipelines.training_frame import entity_table
from tests.fixtures.feature_home import every_feature, make_feature_home
from tests.fixtures.small_log import FIRST_DAY, SHANGHAI, SmallLog, make_log, midnight

_MICROSECOND, _SECOND, _DAY = timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1)
_DAYS = 9
_KEYS = (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
_NEW_ID = 900_001
INSTANT = pl.Datetime("us", "UTC")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("leak") / "home", _log(0), patch)


def _log(seed: int) -> SmallLog:
    """Sparse enough that some users, videos and local days have no play, dense enough for refits."""
    return make_log(seed, users=8, videos=20, plays=260, days=_DAYS)


def _removed(log: SmallLog, instant: datetime, random: np.random.Generator) -> SmallLog:
    return replace(
        log.with_interactions(log.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < instant)),
        video_daily=log.video_daily.filter(~_ends_after(log.video_daily, instant)),
    )


def _altered(log: SmallLog, instant: datetime, random: np.random.Generator) -> SmallLog:
    """Every later outcome, and every later day's counts and description, are others."""
    played = pl.Series(random.integers(0, 90_000, log.interactions.height), dtype=pl.Int32)
    later = pl.col(columns.EVENT_TIMESTAMP) >= instant
    interactions = log.interactions.with_columns(
        pl.when(later).then(played).otherwise(columns.PLAY_DURATION).alias(columns.PLAY_DURATION),
        pl.when(later).then(played * 2).otherwise(columns.VIDEO_DURATION).alias(columns.VIDEO_DURATION),
        pl.when(later)
        .then((played % 700 / 100).cast(pl.Float32))
        .otherwise(columns.WATCH_RATIO)
        .alias(columns.WATCH_RATIO),
    )
    ends_after = _ends_after(log.video_daily, instant)
    daily = log.video_daily.with_columns(
        *(
            pl.when(ends_after).then(pl.col(name).fill_null(0) * 3 + 1).otherwise(name).alias(name)
            for name in (*columns.DAILY_COUNTS, columns.AUTHOR_ID, columns.VIDEO_TAG, columns.VIDEO_DURATION)
        ),
        *(
            pl.when(ends_after).then(pl.lit("other")).otherwise(name).alias(name)
            for name in (columns.VIDEO_TYPE, columns.UPLOAD_TYPE, columns.VISIBLE_STATUS)
        ),
        pl.when(ends_after)
        .then(pl.col(columns.UPLOAD_DATE) - _DAY)
        .otherwise(columns.UPLOAD_DATE)
        .alias(columns.UPLOAD_DATE),
    )
    return replace(log.with_interactions(interactions), video_daily=daily)


def _added(log: SmallLog, instant: datetime, random: np.random.Generator) -> SmallLog:
    """More plays from `instant` on, also by new users and of new videos, and a record for every later day."""
    rows = 120
    users = np.append(log.interactions[columns.USER_ID].unique(), _NEW_ID)
    videos = np.append(log.video_captions[columns.VIDEO_ID], _NEW_ID)
    after = np.append([0, 1, 1_000_000], random.integers(0, 3 * 86_400_000_000, rows - 3))
    plays = pl.DataFrame(
        {
            columns.USER_ID: random.choice(users, rows),
            columns.VIDEO_ID: random.choice(videos, rows),
            columns.EVENT_TIMESTAMP: [instant + int(late) * _MICROSECOND for late in after],
            columns.PLAY_DURATION: random.integers(0, 50_000, rows),
            columns.VIDEO_DURATION: np.full(rows, 6_000),
            columns.WATCH_RATIO: random.random(rows) * 5,
        },
        schema_overrides=log.interactions.schema,
    )
    day = instant.astimezone(SHANGHAI).date()
    records = pl.concat(
        log.video_daily.head(1).with_columns(
            pl.lit(int(video), pl.Int64).alias(columns.VIDEO_ID),
            pl.lit(day + n * _DAY).alias(columns.LOCAL_DATE),
        )
        for video in videos
        for n in range(3)
    )
    daily = [columns.VIDEO_ID, columns.LOCAL_DATE]
    new = log.video_captions.tail(1).with_columns(pl.lit(_NEW_ID, pl.Int64).alias(columns.VIDEO_ID))
    return replace(
        log.with_interactions(
            pl.concat([log.interactions, plays]).unique(list(_KEYS), keep="first", maintain_order=True)
        ),
        video_daily=pl.concat([log.video_daily, records]).unique(daily, keep="first", maintain_order=True),
        video_captions=pl.concat([log.video_captions, new]),
    )


def _ends_after(daily: pl.DataFrame, instant: datetime) -> pl.Series:
    """Which daily records are of a local day that had not ended at `instant`."""
    return pl.Series([midnight(day + _DAY) > instant for day in daily[columns.LOCAL_DATE]], dtype=pl.Boolean)


def _known_before(log: SmallLog, instant: datetime) -> pl.Series:
    """Videos with a play, or the record of an ended day, before `instant`."""
    past = _removed(log, instant, np.random.default_rng(0))
    return (
        pl.concat([past.interactions[columns.VIDEO_ID], past.video_daily[columns.VIDEO_ID]]).unique().sort()
    )


def _with_other_texts(log: SmallLog, known: pl.Series) -> SmallLog:
    """All but these videos get another caption: a video not known yet has no part in the vocabulary."""
    later = ~pl.col(columns.VIDEO_ID).is_in(known.implode())
    caption = pl.when(later).then(pl.lit("新的视频说新的话说新说新")).otherwise(columns.CAPTION)
    return replace(log, video_captions=log.video_captions.with_columns(caption.alias(columns.CAPTION)))


def _rows_up_to(log: SmallLog, instant: datetime) -> pl.DataFrame:
    """Every play up to `instant`, and every user with every known video, right then and just before."""
    plays = log.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) <= instant).select(_KEYS)
    pairs = log.users.select(columns.USER_ID).join(
        pl.DataFrame({columns.VIDEO_ID: _known_before(log, instant)}), how="cross"
    )
    asked = [
        pairs.with_columns(pl.lit(when, INSTANT).alias(columns.EVENT_TIMESTAMP)).select(_KEYS)
        for when in (instant, instant - _MICROSECOND)
    ]
    return pl.concat([plays, *asked])


def _sources_of(log: SmallLog, settings: Settings) -> None:
    log.write(settings)
    build_features(settings, force=True)


def _assert_same_bits(before: pl.DataFrame, after: pl.DataFrame) -> None:
    assert before.schema == after.schema
    different = [name for name in before.columns if _bits(before[name]) != _bits(after[name])]
    assert not different, different


def _bits(values: pl.Series) -> tuple[bytes, ...]:
    if values.dtype == pl.List:
        return (*_bits(values.list.len()), *_bits(values.explode()))
    plain = values.to_list() if values.dtype == pl.String else values.to_physical().fill_null(0).to_numpy()
    data = repr(plain).encode() if isinstance(plain, list) else np.ascontiguousarray(plain).tobytes()
    return data, values.is_null().to_numpy().tobytes()


Change = Callable[[SmallLog, datetime, np.random.Generator], SmallLog]
_CHANGES = (_removed, _altered, _added)
# Midnights, plays and anything between; at, and a microsecond and a second to either side.
_NUDGES = (timedelta(0), _MICROSECOND, -_MICROSECOND, _SECOND, -_SECOND)


@st.composite
def _instants(draw: st.DrawFn) -> tuple[int, datetime]:
    """The seed of a log, and an instant within it with some plays before."""
    seed = draw(st.integers(0, 5))
    at = draw(st.one_of(st.integers(1, _DAYS), st.integers(0, 10**6)))
    plays = _log(seed).interactions[columns.EVENT_TIMESTAMP]
    instant = midnight(FIRST_DAY + at * _DAY) if at <= _DAYS else plays[20 + at % (plays.len() - 20)]
    instant += draw(st.sampled_from(_NUDGES))
    assume(plays.min() < instant)
    return seed, instant


_examples = partial(
    hypothesis_settings,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_anywhere = given(
    where=_instants(),
    change=st.sampled_from(_CHANGES),
    refit_days=st.integers(1, 3),
)


@_examples(max_examples=1)
@_anywhere
# The first instant of a day, where nothing of that day is left; and of the day of a refit.
@example(where=(0, midnight(FIRST_DAY + 5 * _DAY)), change=_removed, refit_days=2)
@example(where=(1, midnight(FIRST_DAY + 4 * _DAY)), change=_added, refit_days=2)
@example(where=(1, midnight(FIRST_DAY + 6 * _DAY)), change=_altered, refit_days=3)
def test_no_feature_changes_with_what_happens_at_or_after_the_instant(
    home: Settings, where: tuple[int, datetime], change: Change, refit_days: int
) -> None:
    """Every view, on-demand ones included, bit for bit, at every row up to the instant and at it."""
    _assert_nothing_changes(home, where, change, refit_days)


@pytest.mark.slow
@_examples(max_examples=100)
@_anywhere
def test_no_feature_changes_at_a_hundred_instants(
    home: Settings, where: tuple[int, datetime], change: Change, refit_days: int
) -> None:
    _assert_nothing_changes(home, where, change, refit_days)


def _assert_nothing_changes(
    home: Settings, where: tuple[int, datetime], change: Change, refit_days: int
) -> None:
    seed, instant = where
    settings = home.changed({"features.als.refit_days": refit_days})
    log = _log(seed)
    rows = _rows_up_to(log, instant)
    _sources_of(log, settings)
    before = every_feature(rows)
    later = change(log, instant, np.random.default_rng(seed))
    _sources_of(_with_other_texts(later, rows[columns.VIDEO_ID].unique()), settings)
    _assert_same_bits(before, every_feature(rows))


@pytest.mark.parametrize(
    ("seed", "plays"), [(0, 3), *(pytest.param(seed, 6, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_no_feature_changes_with_the_rows_own_outcome(home: Settings, seed: int, plays: int) -> None:
    """One play at a time: its length, ratio and the video's length as it tells it are turned upside down."""
    log = _log(seed)
    _sources_of(log, home)
    chosen = np.random.default_rng(seed).choice(log.interactions.height, plays, replace=False)
    before = {int(row): every_feature(log.interactions[int(row)].select(_KEYS)) for row in chosen}
    for row, features in before.items():
        own = pl.int_range(pl.len()) == row
        other = log.interactions.with_columns(
            pl.when(own)
            .then(7.5 - pl.col(columns.WATCH_RATIO))
            .otherwise(columns.WATCH_RATIO)
            .cast(pl.Float32),
            *(
                pl.when(own).then(99_999 - pl.col(name)).otherwise(name).cast(pl.Int32).alias(name)
                for name in (columns.PLAY_DURATION, columns.VIDEO_DURATION)
            ),
        )
        _sources_of(log.with_interactions(other), home)
        _assert_same_bits(features, every_feature(log.interactions[row].select(_KEYS)))


def test_what_happened_a_microsecond_before_a_days_end_is_known_at_its_end(home: Settings) -> None:
    """The other side of the border, so that the tests above cannot hold by features that know nothing."""
    settings = home.changed({"features.als.refit_days": 1})
    log, end = _log(0), midnight(FIRST_DAY + 4 * _DAY)
    rows = _rows_up_to(log, end).filter(pl.col(columns.EVENT_TIMESTAMP) == end)
    new_user = pl.lit(_NEW_ID, pl.Int64).alias(columns.USER_ID)
    new_video = pl.lit(_NEW_ID, pl.Int64).alias(columns.VIDEO_ID)
    just_before = log.interactions.with_columns(
        pl.lit(end - _MICROSECOND, INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.lit(4.5, pl.Float32).alias(columns.WATCH_RATIO),
    )
    # Their own videos again too, which have groups; the new one has none.
    more = [just_before.with_columns(new_user), just_before.with_columns(new_video), just_before]
    plays = pl.concat([log.interactions, *more]).unique(list(_KEYS), keep="first", maintain_order=True)
    _sources_of(log, settings)
    before = every_feature(rows)
    other_day = _altered(log, end - _MICROSECOND, np.random.default_rng(2)).video_daily
    _sources_of(replace(log.with_interactions(plays), video_daily=other_day), settings)
    after = every_feature(rows)
    changed = {name for name in before.columns if _bits(before[name]) != _bits(after[name])}
    static = {*columns.USER_CATEGORICALS, *columns.ONEHOT_FEATURES, *columns.CATEGORY_LEVELS}
    static |= {level.removesuffix("_id") for level in columns.CATEGORY_LEVELS}  # the keys of their views
    unmoved = {columns.HOUR_OF_DAY, columns.DAY_OF_WEEK, columns.INTERACTION_TIMESTAMP, *_KEYS}
    # Text too: with more plays the first refit, whose cutoff is that of the vocabulary, is a day earlier.
    assert changed == set(before.columns) - static - unmoved


def test_the_service_gives_what_its_views_give(home: Settings) -> None:
    """`hybrid_ranker`, which the rankers read, is the same join as that of the views in the tests above."""
    log = _log(2)
    _sources_of(log, home)
    rows = log.interactions.select(_KEYS)
    store = open_store()
    service = store.get_feature_service(columns.HYBRID_RANKER)
    served = store.get_historical_features(entity_df=entity_table(rows), features=service).to_arrow()
    names = [feature.name for view in service.feature_view_projections for feature in view.features]
    frame = pl.DataFrame(served).select(names)
    _assert_same_bits(frame, every_feature(rows).select(names))
