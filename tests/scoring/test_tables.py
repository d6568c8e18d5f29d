"""The schema: its version, its constraints, instants with their zone, and databases that cannot be used."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, StatementError

from nightreel.core.errors import InputError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import reading, sql_engine
from scoring.database.failures import translate_errors
from scoring.database.schema import SCHEMA_VERSION, recorded_version, upgrade
from scoring.database.tables import recommendation, recommendation_run
from scoring.database.url import database_url, masked
from scoring.database.writer import exclusive_lock

_RUN = {
    "run_id": 1,
    "status": "running",
    "as_of": datetime(2020, 8, 15, 2, tzinfo=timezone(timedelta(hours=8))),
    "model_version": "m",
    "started_at": datetime(2020, 8, 15, 2, 0, 0, 123456, tzinfo=UTC),
    "k": 1,
    "inputs": "",
}
_ROW = {"run_id": 1, "user_id": 1, "rank": 1, "video_id": 1, "score": 1.0, "source": "hybrid"}


def _create(settings: Settings) -> None:
    with sql_engine(settings).begin() as connection:
        upgrade(connection)


def test_making_the_schema_again_changes_nothing(settings: Settings) -> None:
    _create(settings)
    _create(settings)
    with reading(settings) as connection:
        assert recorded_version(connection) == SCHEMA_VERSION


def test_a_newer_schema_is_refused(settings: Settings) -> None:
    _create(settings)
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{SCHEMA_VERSION + 1:04}'")
    with pytest.raises(
        InputError, match=f"version {SCHEMA_VERSION + 1}, newer than this nightreel's {SCHEMA_VERSION}"
    ):
        _create(settings)


def test_tables_of_another_program_are_left_alone(settings: Settings) -> None:
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE recommendation (mine int)")
    with pytest.raises(InputError, match="`recommendation` that nightreel did not make"):
        _create(settings)


def test_instants_are_kept_in_utc_with_their_zone(settings: Settings) -> None:
    _create(settings)
    with sql_engine(settings).begin() as connection:
        connection.execute(insert(recommendation_run).values(_RUN))
    with reading(settings) as connection:
        row = connection.execute(select(recommendation_run)).one()
        assert (row.as_of, row.started_at) == (_RUN["as_of"], _RUN["started_at"])
        assert row.as_of.utcoffset() == timedelta(0)
        if settings.database.url is None:
            raw = connection.exec_driver_sql("SELECT as_of, datetime(started_at) FROM recommendation_run")
            assert raw.one() == ("2020-08-14T18:00:00.000000+00:00", "2020-08-15 02:00:00")


def test_an_instant_without_a_zone_is_refused(settings: Settings) -> None:
    _create(settings)
    with pytest.raises(StatementError, match="without a zone"), sql_engine(settings).begin() as connection:
        naive = datetime(2020, 8, 15)  # noqa: DTZ001
        connection.execute(insert(recommendation_run).values(_RUN | {"as_of": naive}))


@pytest.mark.parametrize(
    ("run", "row"),
    [
        ({"status": "shown"}, None),
        ({"k": 0}, None),
        ({}, {"rank": 0}),
        ({}, {"run_id": 2}),
        ({}, {"score": None}),
    ],
)
def test_the_database_itself_refuses_what_may_not_be(
    settings: Settings, run: dict[str, object], row: dict[str, object] | None
) -> None:
    _create(settings)
    with pytest.raises(IntegrityError), sql_engine(settings).begin() as connection:
        connection.execute(insert(recommendation_run).values(_RUN | run))
        connection.execute(insert(recommendation).values(_ROW | (row or {})))
        if row is None:
            pytest.fail("the run was taken")


def _settings(home: Path, url: str) -> Settings:
    return Settings.model_validate({"home": home, "database.url": url})


@pytest.mark.parametrize(
    "url",
    ["nonsense:secret", "mysql://me:secret@host/db", "postgresql://me:secret@host:port/db", "sqlite://"],
)
def test_a_url_that_cannot_be_used_is_wrong_input_and_not_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="database") as failure:
        database_url(_settings(tmp_path, url))
    assert "secret" not in str(failure.value)


def test_a_server_that_is_away_is_one_line_without_the_password(tmp_path: Path) -> None:
    opened = sql_engine(_settings(tmp_path, "postgresql://me:secret@127.0.0.1:9/db"))
    with pytest.raises(NightreelError) as failure, translate_errors(opened.url), exclusive_lock(opened):
        pytest.fail("there is no server")
    said = str(failure.value)
    assert failure.value.exit_code == 1
    assert "127.0.0.1" in said and "secret" not in said and "\n" not in said


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    opened = sql_engine(_settings(tmp_path, "sqlite:///notes.txt"))
    failure = pytest.raises(NightreelError, match=r"notes\.txt: file is not a database")
    with failure, translate_errors(opened.url), exclusive_lock(opened):
        pytest.fail("not a database")


def test_a_relative_sqlite_path_lies_below_the_home(tmp_path: Path) -> None:
    url = database_url(_settings(tmp_path, "sqlite:///lists.sqlite"))
    assert url.database == str(tmp_path / "lists.sqlite")


def test_the_password_is_masked(tmp_path: Path) -> None:
    url = database_url(_settings(tmp_path, "postgres://me:secret@host/db"))
    assert masked(url) == "postgresql+psycopg://me:***@host/db"


def test_reading_before_anything_is_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nightreel score"), reading(Settings(home=tmp_path)):
        pytest.fail("there is no database")
