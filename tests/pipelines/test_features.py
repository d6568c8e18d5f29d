"""Aggregates, popularity and profiles against plain Python that follows their definitions; the local day."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from feast.types import Float32, Int32, Int64, String, UnixTimestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.views import VIEWS
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines.features import build_features
from pipelines.features.activity import SMOOTHING_PLAYS
from pipelines.features.sums_of_days import DailySums
from pipelines.local_days import INSTANT, day_before, ends_of_days
from tests.fixtures.feature_home import every_feature, make_feature_home
from tests.fixtures.small_log import SHANGHAI, make_log, midnight, settings_for
from tests.fixtures.tables import read_source

_DAY = timedelta(days=1)
LOG = make_log(3, users=10, videos=20, plays=400)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_feature_home(tmp_path_factory.mktemp("oracle") / "home", LOG, patch)


@dataclass(frozen=True)
class Oracle:
    """What the definitions say, row by row: slow, and without an aggregate of a library."""

    plays: list[Row]
    records: list[Row]
    settings: Settings
    zone: ZoneInfo

    def day(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()

    def aggregate(self, key: str, other: str, wanted: int, instant: datetime) -> tuple[Any, ...]:
        """Plays, distinct others, liked share, mean ratio and mean play duration, known at `instant`."""
        ended = [p for p in self.plays if self.day(p[columns.EVENT_TIMESTAMP]) < self.day(instant)]
        own = [p for p in ended if p[key] == wanted]
        if not own:
            return (None,) * 5
        last = max(self.day(p[columns.EVENT_TIMESTAMP]) for p in own)
        usual = [p for p in ended if self.day(p[columns.EVENT_TIMESTAMP]) <= last]
        return (
            len(own),
            len({p[other] for p in own}),
            self._smoothed([self._liked(p) for p in own], [self._liked(p) for p in usual]),
            self._smoothed([self._ratio(p) for p in own], [self._ratio(p) for p in usual]),
            float(Fraction(sum(p[columns.PLAY_DURATION] for p in own), len(own))),
        )

    def popularity(self, video: int, instant: datetime) -> tuple[float | None, ...]:
        """The mean of each daily count over the ended days that have it; the counts of the last of these."""
        ended = self._ended(video, instant)
        means = []
        for count in columns.DAILY_COUNTS:
            counted = [r[count] for r in ended if r[count] is not None]
            means.append(sum(counted) / len(counted) if counted else None)
        return (*means, *(ended[-1][count] if ended else None for count in columns.DAILY_COUNTS))

    def profile(self, video: int, instant: datetime) -> tuple[Any, ...]:
        """The last value of each attribute that a daily record had by `instant`, else, of length, a play."""
        ended = self._ended(video, instant)
        names = (columns.AUTHOR_ID, columns.VIDEO_TYPE, columns.VISIBLE_STATUS, columns.VIDEO_DURATION)
        values = {name: [r[name] for r in ended if r[name] is not None] for name in names}
        if not values[columns.VIDEO_DURATION]:
            values[columns.VIDEO_DURATION] = [
                p[columns.VIDEO_DURATION]
                for p in self.plays
                if p[columns.VIDEO_ID] == video and self.day(p[columns.EVENT_TIMESTAMP]) < self.day(instant)
            ]
        return tuple(values[name][-1] if values[name] else None for name in names)

    def _ended(self, video: int, instant: datetime) -> list[Row]:
        ended = [
            r
            for r in self.records
            if r[columns.VIDEO_ID] == video and r[columns.LOCAL_DATE] < self.day(instant)
        ]
        return sorted(ended, key=lambda r: r[columns.LOCAL_DATE])

    def _liked(self, play: Row) -> Fraction:
        return Fraction(play[columns.WATCH_RATIO] > self.settings.data.targets.like_threshold)

    def _ratio(self, play: Row) -> Fraction:
        return Fraction(min(play[columns.WATCH_RATIO], self.settings.data.targets.watch_ratio_clip))

    def _smoothed(self, own: list[Fraction], usual: list[Fraction]) -> float:
        weight = Fraction(SMOOTHING_PLAYS)
        return float((sum(own) + weight * sum(usual) / len(usual)) / (len(own) + weight))


@pytest.fixture(scope="module", params=["Asia/Shanghai", "America/New_York"])
def joined(home: Settings, request: pytest.FixtureRequest) -> tuple[list[Row], Oracle]:
    """Every feature at every play and of a stranger, with days counted in a zone; and the oracle for it."""
    settings = home.changed({"data.time_zone": request.param})
    LOG.write(settings)
    build_features(settings, force=True)
    plays = LOG.interactions.select(columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    stranger = plays.tail(1).with_columns(pl.lit(999_999, pl.Int64).alias(name) for name in plays.columns[:2])
    oracle = Oracle(
        LOG.interactions.to_dicts(), LOG.video_daily.to_dicts(), settings, ZoneInfo(settings.data.time_zone)
    )
    return every_feature(pl.concat([plays, stranger])).to_dicts(), oracle


def test_user_activity_is_what_its_definition_says(joined: tuple[list[Row], Oracle]) -> None:
    rows, oracle = joined
    names = (
        columns.USER_AGG_INTERACTIONS,
        columns.USER_AGG_UNIQUE_VIDEOS,
        columns.USER_AGG_LIKED_SHARE,
        columns.USER_AGG_WATCH_RATIO,
        columns.USER_AGG_PLAY_DURATION,
    )
    for row in rows:
        found = oracle.aggregate(
            columns.USER_ID, columns.VIDEO_ID, row[columns.USER_ID], row[columns.EVENT_TIMESTAMP]
        )
        _assert_close(row, names, found)


def test_video_engagement_is_what_its_definition_says(joined: tuple[list[Row], Oracle]) -> None:
    rows, oracle = joined
    names = (
        columns.VIDEO_AGG_VIEWS,
        columns.VIDEO_AGG_UNIQUE_USERS,
        columns.VIDEO_AGG_LIKED_SHARE,
        columns.VIDEO_AGG_WATCH_RATIO,
        columns.VIDEO_AGG_PLAY_DURATION,
    )
    for row in rows:
        found = oracle.aggregate(
            columns.VIDEO_ID, columns.USER_ID, row[columns.VIDEO_ID], row[columns.EVENT_TIMESTAMP]
        )
        _assert_close(row, names, found)


def test_popularity_is_what_its_definition_says(joined: tuple[list[Row], Oracle]) -> None:
    rows, oracle = joined
    names = (*columns.AVERAGE_DAILY_COUNTS, *columns.LAST_DAY_COUNTS)
    for row in rows:
        _assert_close(row, names, oracle.popularity(row[columns.VIDEO_ID], row[columns.EVENT_TIMESTAMP]))


def test_video_profile_is_the_newest_one_known(joined: tuple[list[Row], Oracle]) -> None:
    rows, oracle = joined
    names = (columns.AUTHOR_ID, columns.VIDEO_TYPE, columns.VISIBLE_STATUS, columns.VIDEO_DURATION)
    for row in rows:
        _assert_close(row, names, oracle.profile(row[columns.VIDEO_ID], row[columns.EVENT_TIMESTAMP]))


def test_profiles_that_bear_no_time_are_known_at_every_instant(joined: tuple[list[Row], Oracle]) -> None:
    rows, _ = joined
    users = {user[columns.USER_ID]: user for user in LOG.users.to_dicts()}
    captions = {video[columns.VIDEO_ID]: video for video in LOG.video_captions.to_dicts()}
    for row in rows:
        for names, known in (
            ((*columns.USER_CATEGORICALS, *columns.ONEHOT_FEATURES), users.get(row[columns.USER_ID], {})),
            (columns.CATEGORY_LEVELS, captions.get(row[columns.VIDEO_ID], {})),
        ):
            assert [row[name] for name in names] == [known.get(name) for name in names]


def _assert_close(row: Row, names: tuple[str, ...], expected: tuple[Any, ...]) -> None:
    found = [row[name] for name in names]
    where = [row[name] for name in (columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)]
    for name, value, wanted in zip(names, found, expected, strict=True):
        same = value == wanted if not isinstance(wanted, float) else value == pytest.approx(wanted, rel=2e-6)
        assert same, (*where, name, value, wanted)


def test_just_after_midnight_in_shanghai_counts_stop_at_yesterday(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2020-07-05 00:08:23.438 has hour_of_day 0, sees the counts of 2020-07-04 and none of 2020-07-05."""
    play = LOG.interactions.head(1).with_columns(
        _instant("2020-07-05T00:08:23.438"), pl.lit(7, pl.Int64).alias(columns.VIDEO_ID)
    )
    earlier = play.with_columns(_instant("2020-07-04T23:59:59.999999"))
    record = LOG.video_daily.head(1).with_columns(pl.lit(7, pl.Int64).alias(columns.VIDEO_ID))
    days = {date(2020, 7, 3): 10, date(2020, 7, 4): 30, date(2020, 7, 5): 5_000}
    records = pl.concat(
        record.with_columns(
            pl.lit(day).alias(columns.LOCAL_DATE),
            *(pl.lit(count, pl.Int64).alias(name) for name in columns.DAILY_COUNTS),
        )
        for day, count in days.items()
    )
    log = replace(LOG.with_interactions(pl.concat([earlier, play])), video_daily=records)
    make_feature_home(tmp_path / "home", log, monkeypatch)
    rows = log.interactions.select(columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    yesterday, today = every_feature(rows).to_dicts()
    assert (yesterday[columns.HOUR_OF_DAY], yesterday[columns.DAY_OF_WEEK]) == (23, 5)
    assert (today[columns.HOUR_OF_DAY], today[columns.DAY_OF_WEEK]) == (0, 6)
    assert {yesterday[name] for name in columns.LAST_DAY_COUNTS} == {10}
    assert {yesterday[name] for name in columns.AVERAGE_DAILY_COUNTS} == {10}
    assert {today[name] for name in columns.LAST_DAY_COUNTS} == {30}
    assert {today[name] for name in columns.AVERAGE_DAILY_COUNTS} == {20}
    assert (yesterday[columns.VIDEO_AGG_VIEWS], today[columns.VIDEO_AGG_VIEWS]) == (None, 1)
    assert (yesterday[columns.USER_AGG_INTERACTIONS], today[columns.USER_AGG_INTERACTIONS]) == (None, 1)


def _instant(local: str) -> pl.Expr:
    instant = datetime.fromisoformat(local).replace(tzinfo=SHANGHAI).astimezone(UTC)
    return pl.lit(instant, INSTANT).alias(columns.EVENT_TIMESTAMP)


@given(
    zone=st.sampled_from(
        ["Asia/Shanghai", "America/New_York", "America/Sao_Paulo", "Asia/Kathmandu", "Asia/Gaza"]
    ),
    instants=st.lists(
        st.datetimes(datetime(2015, 1, 1), datetime(2021, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
        min_size=1,
        max_size=4,
    ),
)
def test_the_end_of_an_instants_day_is_the_next_local_midnight(zone: str, instants: list[datetime]) -> None:
    """Also on days of 23 or 25 hours, and where midnight itself is skipped."""
    found = ends_of_days(pl.Series(instants, dtype=INSTANT), ZoneInfo(zone)).to_list()
    for instant, end in zip(instants, found, strict=True):
        day = instant.astimezone(ZoneInfo(zone)).date()
        assert instant < end <= instant + timedelta(hours=26)
        assert (end - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() == day
        assert end.astimezone(ZoneInfo(zone)).date() == day + _DAY
        assert day_before(end, ZoneInfo(zone)) == day


def test_sources_are_sorted_narrow_and_stamped_in_utc_microseconds(home: Settings) -> None:
    """One row a key and instant, by key or in order of time, and the types that the views declare."""
    types = {Float32: pl.Float32, Int32: pl.Int32, Int64: pl.Int64, String: pl.String, UnixTimestamp: INSTANT}
    for view in VIEWS:
        source = pl.read_parquet(home.paths.feature_source(view.name))
        keys = [key.name for key in view.entity_columns]
        assert source.schema[columns.EVENT_TIMESTAMP] == INSTANT, view.name
        rows = source.select(*keys, columns.EVENT_TIMESTAMP)
        orders = [*keys, columns.EVENT_TIMESTAMP], [columns.EVENT_TIMESTAMP, *keys]
        assert any(rows.equals(rows.unique().sort(order)) for order in orders), view.name
        for field in view.features:
            declared = types.get(field.dtype) or pl.List(types[field.dtype.base_type])
            assert source.schema[field.name] == declared, (view.name, field.name)


def test_features_are_skipped_where_done_and_made_anew_after_a_change(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    LOG.write(settings)
    assert not build_features(settings).skipped
    files = {path: path.read_bytes() for path in settings.paths.features.glob("*.parquet")}
    assert build_features(settings).skipped
    assert not build_features(settings, force=True).skipped
    assert {path: path.read_bytes() for path in files} == files
    assert not build_features(settings.changed({"data.targets.like_threshold": 2.0})).skipped
    engagement = settings.paths.feature_source(columns.VIDEO_ENGAGEMENT)
    by_threshold = engagement.read_bytes()
    assert by_threshold != files[engagement]
    assert not build_features(
        settings.changed({"data.targets.like_threshold": 2.0, "data.targets.long_view_s": 3.0})
    ).skipped
    assert engagement.read_bytes() != by_threshold
    LOG.with_interactions(LOG.interactions.head(300)).write(settings)
    assert not build_features(settings).skipped


def test_the_views_of_pairs_are_there_while_they_are_asked_for(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    LOG.write(settings)
    every = {view.name for view in BUILTIN.stored}
    pairs = {view.name for view in BUILTIN.stored if view.is_of_pairs}
    assert pairs
    for asked, expected in ((False, every - pairs), (True, every), (False, every - pairs)):
        build_features(settings.changed({"features.modules": ("pair_views",) if asked else ()}))
        assert {path.stem for path in settings.paths.features.glob("*.parquet")} == expected


@pytest.mark.parametrize("table", ["interactions", "users", "video_daily", "video_captions"])
def test_a_missing_table_names_itself_and_the_remedy(tmp_path: Path, table: str) -> None:
    settings = settings_for(tmp_path)
    LOG.write(settings)
    folders = {"interactions": settings.paths.interactions, "video_daily": settings.paths.video_daily}
    path = folders.get(table, settings.paths.table(table))
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: no such table. Run `nightreel ingest`"):
        build_features(settings)


def _sources_of(settings: Settings) -> dict[str, pl.DataFrame]:
    return {path.name: read_source(path) for path in sorted(settings.paths.features.glob("*.parquet"))}


GROWN = make_log(31)


@pytest.fixture(scope="module")
def built_anew(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The sources of the whole log, built at once."""
    settings = settings_for(tmp_path_factory.mktemp("anew"))
    GROWN.write(settings)
    build_features(settings)
    return _sources_of(settings)


@pytest.mark.parametrize("night", [0, 1, 400, 699])
@pytest.mark.parametrize("late", [False, True])
def test_another_night_gives_what_building_all_anew_gives(
    tmp_path: Path, built_anew: dict[str, pl.DataFrame], night: int, late: bool
) -> None:
    """Whether the log grew at its end, in the midst of a day, or a play came in late: to the last bit."""
    plays = GROWN.interactions
    missing = [plays.height // 2] if late else []
    first = plays.with_row_index().filter(~pl.col("index").is_in(missing)).drop("index").head(night or 1)
    made = settings_for(tmp_path)
    GROWN.with_interactions(first).write(made)
    build_features(made)
    GROWN.write(made)
    build_features(made)
    found = _sources_of(made)
    assert list(found) == list(built_anew)
    for name, frame in built_anew.items():
        assert found[name].equals(frame), name


@pytest.mark.parametrize("late", ["no record", "a value", "a record", "a day"])
def test_records_of_three_nights_give_what_building_all_anew_gives(
    tmp_path: Path, built_anew: dict[str, pl.DataFrame], late: str
) -> None:
    """What is late comes on the last night, and is of the second day."""
    made, day = settings_for(tmp_path), pl.col(columns.LOCAL_DATE)
    daily = GROWN.video_daily.sort(columns.LOCAL_DATE, columns.VIDEO_ID)
    days = daily[columns.LOCAL_DATE].unique().sort()
    video = daily.filter(day == days[1])[columns.VIDEO_ID][0]
    is_late = (day == days[1]) & (pl.col(columns.VIDEO_ID) == video)
    early = {
        "no record": daily,
        "a value": daily.with_columns(pl.when(is_late).then(1).otherwise("show_cnt").alias("show_cnt")),
        "a record": daily.filter(~is_late),
        "a day": daily.filter(day != days[1]),
    }[late]
    for last in (days[3], days[5]):
        replace(GROWN, video_daily=early.filter(day <= last)).write(made)
        build_features(made)
    GROWN.write(made)
    build_features(made)
    found = _sources_of(made)
    for name, frame in built_anew.items():
        assert found[name].equals(frame), name


def test_another_night_sums_only_the_days_with_new_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(31)
    settings = settings_for(tmp_path)
    log.with_interactions(log.interactions.head(650)).write(settings)
    build_features(settings)
    summed: list[int] = []
    of = DailySums.of
    monkeypatch.setattr(DailySums, "of", lambda plays: summed.append(plays.height) or of(plays))
    log.write(settings)
    build_features(settings)
    build_features(settings, force=True)
    first_new = midnight(log.interactions["event_timestamp"][650].astimezone(SHANGHAI).date())
    of_days = log.interactions.filter(pl.col("event_timestamp") >= first_new).height
    assert summed == [of_days, log.interactions.height]
