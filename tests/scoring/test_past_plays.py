"""What had been played before an instant is what the log says, however much of it features have kept."""

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core import columns, play_days
from nightreel.core.settings import Settings
from pipelines.features import build_aggregates
from pipelines.local_days import ALWAYS_KNOWN, INSTANT
from scoring.outcomes.before import Before
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight, settings_for

LOG = make_log(8, users=6, videos=10, plays=120, days=6)
PLAYS = LOG.interactions.height
_PAIR = [columns.USER_ID, columns.VIDEO_ID]


def _arrival(night_of: pl.Series) -> pl.Expr:
    """When each play arrived: on night 0 by the raw file."""
    days = pl.lit(night_of).cast(pl.Int64) * timedelta(days=1)
    later = pl.lit(midnight(FIRST_DAY), dtype=INSTANT) + timedelta(days=100) + days
    arrived = pl.when(pl.lit(night_of) == 0).then(pl.lit(ALWAYS_KNOWN, dtype=INSTANT)).otherwise(later)
    return arrived.alias(columns.CREATED_TIMESTAMP)


def _assert_is_of_the_log(settings: Settings, plays: pl.DataFrame, as_of: datetime) -> None:
    earlier = plays.filter(pl.col(columns.EVENT_TIMESTAMP) < as_of)
    before = Before(settings, as_of, None)
    assert dict(before.plays_of_users().rows()) == dict(earlier.group_by("user_id").len().rows())
    assert set(before.video_ids()[columns.VIDEO_ID]) == set(earlier[columns.VIDEO_ID])
    users, videos = LOG.users[columns.USER_ID], LOG.interactions[columns.VIDEO_ID]
    pairs = earlier.filter(pl.col(columns.USER_ID).is_in(users.implode())).select(_PAIR).unique().sort(_PAIR)
    for at_a_time in (2, len(users)):
        groups = [users.sort()[start : start + at_a_time] for start in range(0, len(users), at_a_time)]
        assert pl.concat(before.pairs_of(groups, videos)).rows() == pairs.rows()
    assert before.newest() == earlier[columns.EVENT_TIMESTAMP].max()


@hypothesis_settings(max_examples=5, deadline=None)
@given(
    night_of=st.lists(st.integers(0, 2), min_size=PLAYS, max_size=PLAYS),
    hours=st.integers(-150, 30),
    lost=st.booleans(),
)
def test_before_an_instant_is_what_the_log_says(
    tmp_path_factory: pytest.TempPathFactory, night_of: list[int], hours: int, lost: bool
) -> None:
    """Asked before features are built of a night's plays, late ones among them, and after.

    On the last night a play may be lost of a day that has got others.
    """
    settings = settings_for(tmp_path_factory.mktemp("past"))
    arrived = pl.Series(night_of)
    as_of = midnight(FIRST_DAY + timedelta(days=6)) + timedelta(hours=hours)
    for night in range(3):
        known = LOG.interactions.with_columns(_arrival(arrived)).filter(arrived <= night)
        if lost and night == 2:
            known = known[1:]
        if known.height:
            LOG.with_interactions(known).write(settings)
            _assert_is_of_the_log(settings, known, as_of)
            build_aggregates(settings)
            _assert_is_of_the_log(settings, known, as_of)


def test_kept_days_are_not_read(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No play is read again of days that were over and have not changed."""
    settings = settings_for(tmp_path_factory.mktemp("kept"))
    last = midnight(FIRST_DAY + timedelta(days=5))
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    LOG.with_interactions(LOG.interactions.filter(stamp < last)).write(settings)
    build_aggregates(settings)
    LOG.write(settings)
    read: list[str] = []
    scan = pl.scan_parquet

    def noting(source: object, **options: object) -> pl.LazyFrame:
        read.extend(str(path) for path in (source if isinstance(source, list) else [source]))
        return scan(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pl, "scan_parquet", noting)
    before = Before(settings, last, None)
    before.plays_of_users(), before.video_ids()
    days = {path.parent.name for path in play_days.require_plays(settings.paths.interactions)}
    read_days = {day for day in days if any(day in path for path in read)}
    assert read_days == {max(days)}


def test_of_kept_days_with_late_plays_no_other_day_is_read(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late play has its own day read again, and no day beside it."""
    settings = settings_for(tmp_path_factory.mktemp("kept"))
    night_of = pl.Series([int(play == 30) for play in range(PLAYS)])
    plays = LOG.interactions.with_columns(_arrival(night_of))
    LOG.with_interactions(plays.filter(night_of == 0)).write(settings)
    build_aggregates(settings)
    LOG.with_interactions(plays).write(settings)
    read: list[str] = []
    scan = pl.scan_parquet

    def noting(source: object, **options: object) -> pl.LazyFrame:
        read.extend(str(path) for path in (source if isinstance(source, list) else [source]))
        return scan(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pl, "scan_parquet", noting)
    _assert_is_of_the_log(settings, plays, midnight(FIRST_DAY + timedelta(days=7)))
    days = [path.parent.name for path in play_days.require_plays(settings.paths.interactions)]
    late = f"date={FIRST_DAY + timedelta(days=1)}"
    # The newest play is looked for in the last day.
    assert {day for day in days if any(day in path for path in read)} == {late, days[-1]}
