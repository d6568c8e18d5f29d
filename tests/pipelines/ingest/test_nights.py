"""A night costs what it brings: no file of an earlier day is opened, and the tables are those of one load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core import columns
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from pipelines.ingest.output import superseded_path
from tests.fixtures.tables import read_table

PLAYS = "user_id,video_id,play_duration,video_duration,timestamp,watch_ratio\n"
RECORDS = "video_id,date,show_cnt,play_cnt,like_cnt\n"
FIRST = date(2020, 7, 5)
# A user, a video, a day, and the night on which the play arrives.
_play = st.tuples(st.integers(1, 4), st.integers(10, 13), st.integers(0, 3), st.integers(0, 3))


def _home(folder: Path, *, plays: str, records: str = "") -> Settings:
    raw = folder / "raw"
    (raw / "incoming").mkdir(parents=True)
    (raw / columns.BIG_MATRIX_FILE).write_text(PLAYS + plays, encoding="utf-8")
    if records:
        (raw / columns.ITEM_DAILY_FILE).write_text(RECORDS + records, encoding="utf-8")
    made = Settings.model_validate({"home": folder / "home", "data.raw_dir": raw})
    ingest(made)
    return made


def _deliver(home: Settings, name: str, text: str) -> None:
    (home.data.raw_dir / "incoming" / name).write_text(text, encoding="utf-8")
    merge_deliveries(home)
    ingest(home)


def _line(user: int, video: int, day: int, at_s: int = 0) -> str:
    noon = datetime(2020, 7, 5, 4, tzinfo=UTC) + timedelta(days=day, seconds=at_s)
    return f"{user},{video},{1000 * user},4000,{noon.timestamp():.0f},{user / 4}\n"


@contextmanager
def _unreadable(files: list[Path]) -> Iterator[None]:
    """Files with other bytes of the same length, size and time; none of them may be replaced meanwhile."""
    whole = {path: (path.read_bytes(), path.stat()) for path in files}
    for path, (content, stamp) in whole.items():
        path.write_bytes(b"x" * len(content))
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    yield
    for path, (content, _) in whole.items():
        assert path.read_bytes() == b"x" * len(content), path
        path.write_bytes(content)


def test_a_night_opens_no_file_of_an_earlier_day(tmp_path: Path) -> None:
    """Neither of plays nor of records: those of the earlier days cannot be read here."""
    home = _home(
        tmp_path, plays=_line(1, 10, 0) + _line(2, 11, 1), records="10,20200705,3,2,1\n11,20200706,4,2,1\n"
    )
    folders = (home.paths.interactions, home.paths.video_daily)
    with _unreadable([path for folder in folders for path in files_by_day(folder).values()]):
        _deliver(home, "big_matrix_3.csv", PLAYS + _line(3, 10, 2))
        _deliver(home, "item_daily_features_3.csv", RECORDS + "10,20200707,5,5,5\n")
    assert read_table(home, "interactions")["user_id"].to_list() == [1, 2, 3]
    assert read_table(home, "video_daily")["show_cnt"].to_list() == [3, 5, 4]


def test_records_derived_from_plays_are_those_of_the_new_day_alone(tmp_path: Path) -> None:
    home = _home(tmp_path, plays=_line(1, 10, 0) + _line(2, 11, 1))
    folders = (home.paths.interactions, home.paths.video_daily)
    with _unreadable([path for folder in folders for path in files_by_day(folder).values()]):
        _deliver(home, "big_matrix_3.csv", PLAYS + _line(3, 10, 2) + _line(3, 12, 2))
    daily = read_table(home, "video_daily")
    days = [FIRST + timedelta(days=day) for day in (0, 2, 1, 2)]
    assert daily["video_id", "date", "play_cnt"].rows() == [
        (video, day, 1) for video, day in zip((10, 10, 11, 12), days, strict=True)
    ]
    assert read_table(home, "users")["user_id"].to_list() == [1, 2, 3]
    assert read_table(home, "video_captions")["video_id"].to_list() == [10, 11, 12]


def _derived(home: Settings) -> list[pl.DataFrame]:
    superseded = superseded_path(home.paths.tables, "video_daily")
    daily = read_table(home, "video_daily")
    return [
        daily,
        pl.read_parquet(superseded) if superseded.is_file() else daily.clear(),
        read_table(home, "users"),
        read_table(home, "video_captions"),
    ]


@hypothesis_settings(max_examples=4, deadline=None)
@given(plays=st.lists(_play, min_size=1, max_size=12), grows=st.lists(st.booleans(), min_size=3, max_size=3))
def test_tables_derived_night_by_night_are_those_derived_at_once(
    tmp_path_factory: pytest.TempPathFactory, plays: list[tuple[int, int, int, int]], grows: list[bool]
) -> None:
    """Late plays and repeated ones are among them; some nights bring rows of the raw file instead."""
    lines = [(_line(user, video, day, at), night) for at, (user, video, day, night) in enumerate(plays)]
    home = _home(
        tmp_path_factory.mktemp("home"),
        plays=_line(9, 19, 0) + "".join(line for line, night in lines if night == 0),
    )
    for night, grown in enumerate(grows, start=1):
        text = "".join(line for line, arrives in lines if arrives == night)
        if grown:
            with (home.data.raw_dir / columns.BIG_MATRIX_FILE).open("a", encoding="utf-8") as file:
                file.write(text)
            ingest(home)
        elif text:
            _deliver(home, f"big_matrix_{night}.csv", PLAYS + text)
        by_night = _derived(home)
        ingest(home, force=True)
        assert [one.equals(other) for one, other in zip(by_night, _derived(home), strict=True)] == [True] * 4


def test_a_file_of_daily_records_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    home = _home(tmp_path, plays=_line(1, 10, 0), records="")
    (home.data.raw_dir / columns.ITEM_DAILY_FILE).write_text(RECORDS, encoding="utf-8")
    ingest(home)
    assert read_table(home, "video_daily").height == 0
    _deliver(home, "item_daily_features_1.csv", RECORDS + "10,20200705,3,2,1\n")
    assert read_table(home, "video_daily")["show_cnt"].to_list() == [3]
