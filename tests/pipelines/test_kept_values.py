"""Sources made of single days' values go on night by night as if they were made of all days at once."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import DataSettings, Settings
from pipelines.features import build_aggregates
from pipelines.features.expressed import build_expressed
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight, settings_for
from tests.fixtures.tables import read_source

# By its name it is the function of that name.
DAILY_SUMS = import_module("pipelines.features.daily_sums")
DAYS, FIRST_NIGHT = 34, 18
WINDOW = 7
MODULE = """
import polars as pl
from nightreel.core.catalogue import Feature

features = [
    Feature("all_plays", entity="user", description="x", value=pl.len(), combine="sum", type="int32"),
    Feature("longest", entity="user", description="x", value=pl.col("play_duration").max(), combine="max"),
    Feature("plays_2d", entity="user", description="x", value=pl.len(), combine="sum", days=2, type="int32"),
    Feature("is_played", entity="video", description="x", value=pl.len() > 0, combine="sum", type="int32"),
]
"""


def _sparse_log() -> SmallLog:
    """Weeks without a play or a record of a video, and records of nothing: windows that stay as they were."""
    log = make_log(11, users=6, videos=14, plays=170, days=DAYS)
    day = (pl.col(columns.LOCAL_DATE) - pl.lit(FIRST_DAY)).dt.total_days()
    some = log.video_daily.filter((pl.col(columns.VIDEO_ID) // 5 * 4 + day) % 11 < 2)
    return replace(log, video_daily=some.with_columns(pl.col("show_cnt") % 2))


LOG = _sparse_log()


def _until(log: SmallLog, day: int) -> SmallLog:
    """The log as it is after its first days."""
    end = FIRST_DAY + timedelta(days=day)
    plays = log.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < midnight(end))
    return replace(
        log, video_daily=log.video_daily.filter(pl.col(columns.LOCAL_DATE) < end)
    ).with_interactions(plays)


def _home(folder: Path) -> Settings:
    (folder / "own.py").write_text(MODULE, encoding="utf-8")
    return settings_for(folder / "home", **{"features.modules": (str(folder / "own.py"),)})


def _night(log: SmallLog, home: Settings) -> None:
    log.write(home)
    build_aggregates(home)
    build_expressed(home)


def _sources(home: Settings) -> dict[str, pl.DataFrame]:
    return {path.name: read_source(path) for path in home.paths.features.glob("*.parquet")}


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    home = _home(tmp_path_factory.mktemp("at_once"))
    _night(LOG, home)
    return _sources(home)


def _assert_same(home: Settings, wanted: dict[str, pl.DataFrame]) -> None:
    made = _sources(home)
    assert made.keys() == wanted.keys()
    for name, source in wanted.items():
        assert made[name].equals(source), name


def _values_of_days(home: Settings) -> list[Path]:
    return sorted((home.paths.state / "values_of_days").glob(f"{columns.VIDEO_RECENT}/days/*.parquet"))


def test_nights_of_new_days_give_the_sources_of_all_days_at_once(
    tmp_path: Path, at_once: dict[str, pl.DataFrame]
) -> None:
    """Of one day or of several, after weeks; values of days that no window reaches cannot be read here."""
    home = _home(tmp_path)
    for day in (FIRST_NIGHT, 19, 20, 23, 24, 25, DAYS):
        _night(_until(LOG, day), home)
        reached = f"{FIRST_DAY + timedelta(days=day - WINDOW - 1)}.parquet"
        old = [path for path in _values_of_days(home) if path.name < reached]
        assert len(old) >= 3
        for path in old:
            path.write_bytes(b"not parquet")
    _assert_same(home, at_once)


def test_nights_of_new_days_do_not_read_the_sums_of_earlier_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activity and engagement go on from totals."""
    home, read = _home(tmp_path), []
    of = DAILY_SUMS.kept_sums

    def noting(folder: Path, days: Collection[date], settings: DataSettings) -> object:
        read.append(folder)
        return of(folder, days, settings)

    monkeypatch.setattr(DAILY_SUMS, "kept_sums", noting)
    for day in (FIRST_NIGHT, FIRST_NIGHT + 1):
        _until(LOG, day).write(home)
        build_aggregates(home)
    assert not read
    home.paths.feature_source(columns.USER_ACTIVITY).unlink()
    _until(LOG, FIRST_NIGHT + 2).write(home)
    build_aggregates(home)
    assert read


def test_late_plays_and_changed_records_change_the_rows_from_their_day_on(
    tmp_path: Path, at_once: dict[str, pl.DataFrame]
) -> None:
    home, plays = _home(tmp_path), LOG.interactions.with_row_index()
    late = plays.filter(pl.col("index").is_in([30, 120])).drop("index")
    day = LOG.video_daily[columns.LOCAL_DATE].unique().sort()[4]
    other = LOG.video_daily.with_columns(
        pl.when(pl.col(columns.LOCAL_DATE) == day).then(5).otherwise(pl.col("show_cnt")).alias("show_cnt")
    )
    before = replace(
        LOG.with_interactions(LOG.interactions.join(late, on=late.columns, how="anti")), video_daily=other
    )
    assert not other.equals(LOG.video_daily) and before.interactions.height == LOG.interactions.height - 2
    for night in (FIRST_NIGHT, 30, 31):
        _night(_until(before, night), home)
    _night(LOG, home)
    _assert_same(home, at_once)


def test_lost_and_damaged_values_of_days_are_made_again(
    tmp_path: Path, at_once: dict[str, pl.DataFrame]
) -> None:
    home = _home(tmp_path)
    _night(_until(LOG, DAYS - 1), home)
    first, *_, last = _values_of_days(home)
    first.unlink()
    last.write_bytes(b"not parquet")
    _night(LOG, home)
    _assert_same(home, at_once)
    assert first.is_file()
