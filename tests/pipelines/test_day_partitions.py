"""Plays by local day: whatever arrives in which order, the tables and features are those of all at once."""

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.newest_rows import newest_rows_file
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.arrivals import earlier_digests_file
from pipelines.collaborative.late_plays import Arrivals
from pipelines.features import build_features, seen_pairs, stored_pairs
from pipelines.features.earlier_pairs import DAYS_BEHIND
from pipelines.features.gained_plays import GainedPlays
from pipelines.ingest import days_written, ingest
from pipelines.local_days import ALWAYS_KNOWN, INSTANT
from tests.fixtures.raw_log import BIG_HEADER, BIG_ROWS, RawLog
from tests.fixtures.small_log import FIRST_DAY, SmallLog, make_log, midnight, settings_for
from tests.fixtures.tables import read_source, read_table

# By its name it is the function of that name.
DAILY_SUMS = import_module("pipelines.features.daily_sums")
LOG = make_log(7, users=6, videos=10, plays=160, days=6)
PLAYS = LOG.interactions.height


def _home(folder: Path) -> Settings:
    raw = RawLog().write(folder / "raw")
    return Settings.model_validate({"home": folder / "home", "data.raw_dir": raw})


def _days(settings: Settings) -> dict[str, tuple[int, int]]:
    """Inode and rows of each day's file."""
    found = files_by_day(settings.paths.interactions)
    return {str(day): (path.stat().st_ino, pl.read_parquet(path).height) for day, path in found.items()}


def _deliver(settings: Settings, rows: Sequence[str]) -> None:
    folder = settings.data.raw_dir / "incoming"
    folder.mkdir(exist_ok=True)
    (folder / "big_matrix_x.csv").write_text("\n".join((BIG_HEADER, *rows)) + "\n", encoding="utf-8")
    merge_deliveries(settings)
    ingest(settings)


def test_a_delivery_writes_only_the_days_that_it_has_plays_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _home(tmp_path)
    ingest(home)
    before = _days(home)
    read: list[str] = []
    of = days_written.pl.read_parquet

    def noting(path: Path) -> pl.DataFrame:
        read.extend([path.parent.name] if path.parent.name.startswith("date=") else [])
        return of(path)

    monkeypatch.setattr(days_written.pl, "read_parquet", noting)
    _deliver(home, [BIG_ROWS[0].replace("14,148,4381", "14,148,4380")])
    monkeypatch.undo()
    after = _days(home)
    assert set(read) == {"date=2020-07-05"}
    assert {day: rows for day, (_, rows) in after.items()} == {"2020-07-05": 4, "2020-07-06": 1}
    assert after["2020-07-06"] == before["2020-07-06"]
    assert after["2020-07-05"] != before["2020-07-05"]


def test_a_day_without_its_late_plays_has_the_digest_that_it_had(tmp_path: Path) -> None:
    """So fits that do not see them are recognised as the same; of two deliveries, each by itself."""
    home = _home(tmp_path)
    ingest(home)
    cutoff = datetime(2020, 7, 7, tzinfo=UTC)
    found = [Arrivals.of(home.paths.interactions)]
    for duration in (4380, 4379):
        _deliver(home, [BIG_ROWS[0].replace("14,148,4381", f"14,148,{duration}")])
        found.append(Arrivals.of(home.paths.interactions))
    assert len({one.digests[FIRST_DAY] for one in found}) == 3
    arrived = sorted(found[-1].plays[FIRST_DAY])
    for one, instant in zip(found, arrived, strict=True):
        assert found[-1].digests_before(cutoff, instant, home.data.zone) == one.digests
    # The same where ingest has noted nothing.
    earlier_digests_file(home.paths.interactions).unlink()
    for one, instant in zip(found, arrived, strict=True):
        assert found[-1].digests_before(cutoff, instant, home.data.zone) == one.digests


def test_a_first_load_that_does_not_fit_into_memory_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, spilled = _home(tmp_path / "whole"), _home(tmp_path / "spilled")
    ingest(whole)
    monkeypatch.setattr(days_written, "ROWS_IN_MEMORY", 1)
    ingest(spilled)
    assert read_table(spilled, "interactions").equals(read_table(whole, "interactions"))


def test_a_home_of_one_file_is_read_once_more_and_then_kept_by_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = _home(tmp_path)
    ingest(home)
    wanted = read_table(home, "interactions")
    # As an older nightreel left it.
    state = home.paths.state / "ingest_files.json"
    kept = str(home.paths.interactions)
    old = home.paths.tables / "interactions.parquet"
    wanted.write_parquet(old)
    text = state.read_text(encoding="utf-8")
    shutil.rmtree(home.paths.interactions)
    assert kept in text
    ingest(home)
    assert read_table(home, "interactions").equals(wanted)
    assert not old.exists()


_any_nights = given(
    night_of=st.lists(st.integers(0, 2), min_size=LOG.interactions.height, max_size=LOG.interactions.height)
)


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The sources of all plays, built at once."""
    settings = settings_for(tmp_path_factory.mktemp("anew"))
    LOG.write(settings)
    build_features(settings)
    return settings


@hypothesis_settings(max_examples=4, deadline=None)
@_any_nights
def test_features_of_any_nights_are_those_of_all_plays_at_once(
    tmp_path_factory: pytest.TempPathFactory, at_once: Settings, night_of: list[int]
) -> None:
    """Each play arrives on some night, late or not: every source is the same to the last bit."""
    _assert_same_sources(tmp_path_factory.mktemp("nights"), at_once, night_of)


def _first_of_several_days() -> list[int]:
    """The plays that are the only one of their pair and day, and the first of several."""
    pair, day = (
        [columns.USER_ID, columns.VIDEO_ID],
        pl.col(columns.EVENT_TIMESTAMP).dt.offset_by("8h").dt.date(),
    )
    plays = LOG.interactions.with_columns(day.alias("day")).with_row_index("play")
    of_day = plays.group_by(*pair, "day").agg(pl.len().alias("plays"), pl.col("play").first())
    first = of_day.sort("day").group_by(pair).agg(pl.col("plays", "play").first(), pl.len().alias("days"))
    return first.filter((pl.col("plays") == 1) & (pl.col("days") > 1))["play"].sort().to_list()


@hypothesis_settings(max_examples=6, deadline=None)
@given(late=st.sets(st.sampled_from(_first_of_several_days()), min_size=1, max_size=3))
def test_features_after_few_late_plays_are_those_of_all_plays_at_once(
    tmp_path_factory: pytest.TempPathFactory, at_once: Settings, late: set[int]
) -> None:
    """Days that are the same have other first plays then."""
    night_of = [int(play in late) for play in range(LOG.interactions.height)]
    _assert_same_sources(tmp_path_factory.mktemp("nights"), at_once, night_of)


@pytest.mark.slow
@hypothesis_settings(max_examples=60, deadline=None)
@_any_nights
def test_features_of_sixty_divisions_into_nights_are_those_of_all_plays_at_once(
    tmp_path_factory: pytest.TempPathFactory, at_once: Settings, night_of: list[int]
) -> None:
    _assert_same_sources(tmp_path_factory.mktemp("nights"), at_once, night_of)


@hypothesis_settings(max_examples=3, deadline=None)
@given(
    night_of=st.lists(
        st.sampled_from([0, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
        min_size=LOG.interactions.height,
        max_size=LOG.interactions.height,
    )
)
def test_kept_sums_corrected_for_late_plays_are_those_of_all_plays_at_once(
    tmp_path_factory: pytest.TempPathFactory, at_once: Settings, night_of: list[int]
) -> None:
    """Days that have only gained plays are not summed again: `_from_first_change` is for the first night."""
    summed: list[Path] = []
    of = DAILY_SUMS._from_first_change

    def noting(interactions: Path, *rest: object) -> object:
        summed.append(interactions)
        return of(interactions, *rest)

    made = settings_for(tmp_path_factory.mktemp("arrived"))
    night = pl.Series(night_of)
    later = pl.lit(midnight(FIRST_DAY), dtype=INSTANT) + pl.lit(night) * timedelta(days=100)
    arrived = pl.when(pl.lit(night) == 0).then(pl.lit(ALWAYS_KNOWN, dtype=INSTANT)).otherwise(later)
    plays = LOG.interactions.with_columns(arrived.alias(columns.CREATED_TIMESTAMP))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DAILY_SUMS, "DAYS_BEHIND", 1)
        patch.setattr(DAILY_SUMS, "_from_first_change", noting)
        for until in sorted(set(night_of)):
            LOG.with_interactions(plays.filter(night <= until)).write(made)
            build_features(made)
    assert len(summed) == 1
    # ALS sees late plays when they have arrived; without arrivals it takes them as there from the start.
    factors = {made.paths.feature_source(view) for view in (columns.USER_FACTORS, columns.VIDEO_FACTORS)}
    for path in sorted({*made.paths.features.glob("*.parquet")} - factors):
        assert read_source(path).equals(read_source(at_once.paths.features / path.name)), path.name


def _assert_same_sources(folder: Path, at_once: Settings, night_of: list[int]) -> None:
    made = settings_for(folder)
    arrived = pl.Series(night_of)
    with pytest.MonkeyPatch.context() as patch:
        # So that pairs of earlier days are kept of a short log too, and read for a few users at a time.
        patch.setattr(DAILY_SUMS, "DAYS_BEHIND", 1)
        patch.setattr(stored_pairs, "_GROUP_USERS", 3)
        patch.setattr(seen_pairs, "RANGE_BYTES", 1)
        for night in range(3):
            known = LOG.interactions.filter(arrived <= night)
            if known.height:
                LOG.with_interactions(known).write(made)
                build_features(made)
    for path in sorted(at_once.paths.features.glob("*.parquet")):
        assert read_source(made.paths.features / path.name).equals(read_source(path)), path.name
    _assert_newest_rows(made)


def _assert_newest_rows(home: Settings) -> None:
    """What is kept for materialization says which rows are the newest, from the night's first new row on."""
    for path in sorted(home.paths.features.glob("*.parquet")):
        instants = read_source(path)[columns.EVENT_TIMESTAMP].unique().sort()
        for instant in instants:
            kept = newest_rows_file(path, home.paths, instant)
            if kept is not None:
                found, expected = (_newest_rows(one, instant) for one in (kept, path))
                assert found.equals(expected), (path.name, instant)


def _newest_rows(path: Path, instant: datetime) -> pl.DataFrame:
    rows = pl.read_parquet(path)
    keys = rows.columns[: rows.columns.index(columns.EVENT_TIMESTAMP)]
    known = rows.filter(pl.col(columns.EVENT_TIMESTAMP) <= instant).sort(columns.EVENT_TIMESTAMP)
    newest: pl.DataFrame = known.unique(keys, keep="last").sort(keys)
    return newest


def test_a_night_with_late_plays_reads_no_day_of_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, home = make_log(3, users=60, videos=60, plays=1_500, days=40), settings_for(tmp_path)
    late = log.interactions.height * 9 // 10
    log.with_interactions(
        log.interactions.with_row_index().filter(pl.col("index") != late).drop("index")
    ).write(home)
    build_features(home)
    log.write(home)
    read: set[Path] = set()
    of, of_pairs = DAILY_SUMS.read_days, GainedPlays.scan_new

    def noting(files: list[Path], names: Sequence[str]) -> pl.DataFrame:
        read.update(files)
        return of(files, names)

    def noting_pairs(gained: GainedPlays, day: date) -> pl.LazyFrame:
        read.add(gained.files[day])
        return of_pairs(gained, day)

    monkeypatch.setattr(DAILY_SUMS, "read_days", noting)
    monkeypatch.setattr(GainedPlays, "scan_new", noting_pairs)
    build_features(home)
    days = list(files_by_day(home.paths.interactions).values())
    assert read and min(map(days.index, read)) == len(days) - DAYS_BEHIND
    views = (columns.USER_ACTIVITY, columns.VIDEO_ENGAGEMENT)
    found = [pl.read_parquet(home.paths.feature_source(view)) for view in views]
    build_features(home, force=True)
    for view, made in zip(views, found, strict=True):
        assert pl.read_parquet(home.paths.feature_source(view)).equals(made)


def _write_as_ingest(log: SmallLog, folder: Path, home: Settings) -> None:
    """Put the tables into a home with checksums, by way of another one."""
    other = settings_for(folder)
    log.write(other)
    with atomic_write(home.paths.tables, checksum=True) as tables:
        shutil.copytree(other.paths.tables, tables)


def _spoil_rows(path: Path) -> None:
    """Leave a parquet file's footer as it is, and nothing else."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    path.write_bytes(content[:4] + b"x" * (len(content) - footer - 4) + content[-footer:])


def test_features_of_a_new_day_read_no_rows_of_an_earlier_day(tmp_path: Path) -> None:
    """Neither plays nor what is kept of them by day: those of the earlier days cannot be read here."""
    home = settings_for(tmp_path / "home", **{"features.als.refit_days": 5, "features.als.factors": 3})
    at_once = home.model_copy(update={"home": tmp_path / "at_once"})
    last = midnight(FIRST_DAY + timedelta(days=5))
    before = LOG.with_interactions(LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < last))
    _write_as_ingest(before, tmp_path / "before", home)
    build_features(home)
    _write_as_ingest(LOG, tmp_path / "after", home)
    days = list(files_by_day(home.paths.interactions).values())
    counts = home.paths.state / "values_of_days" / "user_categories" / "days"
    of_categories = sorted(counts.glob("*.parquet"))
    assert len(days) == len(of_categories) + 1 == 6
    for path in (*days[:-1], *of_categories):
        _spoil_rows(path)
    build_features(home)
    LOG.write(at_once)
    build_features(at_once)
    for path in at_once.paths.features.glob("*.parquet"):
        assert read_source(home.paths.features / path.name).equals(read_source(path)), path.name
    night = last + timedelta(days=1)
    for view in (columns.USER_ACTIVITY, columns.VIDEO_ENGAGEMENT, columns.USER_CATEGORIES, "video_recent"):
        assert newest_rows_file(home.paths.feature_source(view), home.paths, night), view
        assert not newest_rows_file(home.paths.feature_source(view), home.paths, last), view
    _assert_newest_rows(home)


def test_days_begin_and_end_where_local_days_do() -> None:
    zone = Settings(home=Path("/nowhere")).data.zone
    midnight = datetime(2020, 7, 5, 16, tzinfo=UTC)  # the 6th begins in Shanghai
    instants = [midnight - timedelta(microseconds=1), midnight]
    plays = pl.DataFrame({"event_timestamp": instants}, schema={"event_timestamp": pl.Datetime("us", "UTC")})
    assert [(str(day), part.height) for day, part in days_written.by_day(plays, zone)] == [
        ("2020-07-05", 1),
        ("2020-07-06", 1),
    ]
