"""An older database keeps all its data when it is upgraded; a newer one, or another program's, is refused."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from scoring.database import schema
from scoring.database.connection import reading, sql_engine
from scoring.database.history import list_runs, rollback
from scoring.database.schema import SCHEMA_VERSION, recorded_version, upgrade, upgrade_database
from scoring.database.show import user_list
from scoring.database.tables import job_run, list_flip, metadata, recommendation_run
from tests.conftest import Nightreel
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.test_publish_atomic import publish_lists, runs

HERE = Path(__file__).parent
_ROW = "run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source"
_ADDED = ("candidate_sources", "rule", "propensity", "arm")


@pytest.fixture
def older(settings: Settings) -> Settings:
    """A database as version 1 left it, with three runs, the third one shown."""
    url = settings.database.url
    name = "sqlite" if url is None else "postgresql"
    script = (HERE / f"version_1_{name}.sql").read_text(encoding="utf-8")
    if url is None:
        settings.paths.sqlite.parent.mkdir(parents=True)
        connection = sqlite3.connect(settings.paths.sqlite)
        connection.executescript(script)
        connection.close()
    else:
        with psycopg.connect(url.get_secret_value()) as server:
            server.execute(script)  # type: ignore[call-overload]
    return settings


def _everything(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """All rows of version 1's tables and view, in version 1's columns."""
    columns = {
        "recommendation_run": "run_id, status, as_of, model_version, started_at, published_at, users, rows, "
        "k, error, inputs",
        "recommendation": _ROW,
        "published_run": "*",
        "latest_recommendation": _ROW,
    }
    with reading(settings) as connection:
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT {of} FROM {name} ORDER BY 1, 2")]
            for name, of in columns.items()
        }


def test_an_older_database_is_upgraded_without_loss(older: Settings) -> None:
    before = _everything(older)
    assert len(before["recommendation"]) == 8 and len(before["recommendation_run"]) == 3
    assert len(before["latest_recommendation"]) == 4
    assert upgrade_database(older) == (1, SCHEMA_VERSION)
    assert _everything(older) == before
    assert upgrade_database(older) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert _everything(older) == before


def test_readers_of_everything_find_the_new_column_behind_those_that_they_know(older: Settings) -> None:
    upgrade_database(older)
    for name in ("recommendation", "latest_recommendation"):
        with reading(older) as connection:
            found = connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2, 3")
            assert list(found.keys()) == [*_ROW.split(", "), *_ADDED]
            assert {value for row in found for value in row[-len(_ADDED) :]} == {None}


def test_an_upgrade_leaves_readers_their_grant_on_the_view(older: Settings) -> None:
    if older.database.url is None:
        return
    with psycopg.connect(older.database.url.get_secret_value(), autocommit=True) as server:
        server.execute("DROP ROLE IF EXISTS app")
        server.execute("CREATE ROLE app")
        server.execute("GRANT SELECT ON latest_recommendation TO app")
        try:
            upgrade_database(older)
            server.execute("SET ROLE app")
            rows = server.execute("SELECT * FROM latest_recommendation").fetchall()
            assert len(rows) == 4
        finally:
            server.execute("RESET ROLE")
            server.execute("DROP OWNED BY app")
            server.execute("DROP ROLE app")


def test_the_column_of_candidate_sources_can_be_taken_away_again(older: Settings) -> None:
    before = _everything(older)
    upgrade_database(older)
    with sql_engine(older).begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        command.downgrade(config, "0004")
        earlier = recorded_version(connection)
    assert _everything(older) == before
    with reading(older) as connection:
        for name in ("recommendation", "latest_recommendation"):
            found = connection.exec_driver_sql(f"SELECT * FROM {name}")
            assert list(found.keys()) == _ROW.split(", ")
            found.close()  # what is read by halves is a reader's open transaction
    assert upgrade_database(older) == (earlier, SCHEMA_VERSION)


def test_the_tables_of_outcomes_come_with_what_was_shown_and_go_again(older: Settings) -> None:
    before = _everything(older)
    upgrade_database(older)
    names = {"list_flip", "list_night", "list_outcome", "list_reach"}
    with sql_engine(older).connect() as connection:
        assert names <= {*inspect(connection).get_table_names()}
        flips = connection.execute(select(list_flip).order_by(list_flip.c.shown_at)).all()
        runs = connection.execute(
            select(recommendation_run).where(recommendation_run.c.status == "published")
        )
        assert [(flip.run_id, flip.shown_at) for flip in flips] == [
            (run.run_id, run.published_at) for run in sorted(runs, key=lambda run: run.published_at)
        ]
        assert len(flips) == 2
    with sql_engine(older).begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        command.downgrade(config, "0005")
        assert not names & {*inspect(connection).get_table_names()}
    assert _everything(older) == before
    assert upgrade_database(older) == (5, SCHEMA_VERSION)


def test_what_the_loop_added_goes_again_and_comes_back(older: Settings) -> None:
    before = _everything(older)
    upgrade_database(older)
    tables = {"list_rule", "list_repeat", "list_candidate", "list_arm"}
    with sql_engine(older).begin() as connection:
        assert tables <= {*inspect(connection).get_table_names()}
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        command.downgrade(config, "0006")
        assert not tables & {*inspect(connection).get_table_names()}
        names = {one["name"] for one in inspect(connection).get_columns("recommendation_run")}
        assert "replay" in names and not names & {"arms", "remarks"}
    assert _everything(older) == before
    with reading(older) as connection:
        found = connection.exec_driver_sql("SELECT * FROM latest_recommendation")
        assert list(found.keys()) == [*_ROW.split(", "), "candidate_sources"]
        found.close()  # what is read by halves is a reader's open transaction
    assert upgrade_database(older) == (6, SCHEMA_VERSION)


def test_the_tables_of_shared_lists_come_empty_and_go_again(older: Settings) -> None:
    """From version 7, as of the release before them, and back to it; nothing else changes."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    upgrade_database(older)
    before = _everything(older)
    names = {"related_recommendation", "popular_recommendation", "shared_list_run"}
    views = {"latest_related", "latest_popular"}
    for _ in range(2):
        with sql_engine(older).connect() as connection:
            assert names <= {*inspect(connection).get_table_names()}
            assert views <= {*inspect(connection).get_view_names()}
        with sql_engine(older).begin() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, "0007")
            assert not names & {*inspect(connection).get_table_names()}
            assert not views & {*inspect(connection).get_view_names()}
        assert _everything(older) == before
        assert upgrade_database(older) == (7, SCHEMA_VERSION)
    assert _everything(older) == before


def test_publishing_upgrades_an_older_database_and_goes_on_from_its_runs(older: Settings) -> None:
    candidates = make_candidates(1)
    permissive = older.changed({"database.audits.min_share_of_last_run": 0.0})
    publish_lists(permissive, candidates, make_blocks(candidates, 1, k=10))
    assert runs(older) == [(1, "published"), (2, "failed"), (3, "published"), (4, "published")]
    assert {row[0] for row in shown_rows(older)} == {4}


@pytest.mark.parametrize("from_version", [None, 1])
def test_a_migrated_schema_is_the_one_that_the_code_knows(
    from_version: int | None, settings: Settings, request: pytest.FixtureRequest
) -> None:
    if from_version is not None:
        request.getfixturevalue("older")
    upgrade_database(settings)
    with sql_engine(settings).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        connection.execute(select(recommendation_run))
        connection.execute(select(job_run))


def test_an_upgrade_that_is_cut_off_changes_nothing(older: Settings) -> None:
    before = _everything(older)
    with pytest.raises(ZeroDivisionError), sql_engine(older).begin() as connection:
        upgrade(connection)
        assert recorded_version(connection) == SCHEMA_VERSION
        raise ZeroDivisionError
    assert _everything(older) == before
    with reading(older) as connection:
        assert recorded_version(connection) == 1


def test_the_command_upgrades_and_says_from_where(older: Settings, nightreel: Nightreel) -> None:
    environment = {}
    if older.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = older.database.url.get_secret_value()
    done = nightreel("db", "upgrade", home=older.home, **environment)
    assert done.returncode == 0, done.stderr
    assert "version 1" in done.stdout and f"version {SCHEMA_VERSION}" in done.stdout
    with sql_engine(older).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    refused = nightreel("db", "upgrade", home=older.home, **environment)
    assert refused.returncode == 2
    assert "version 9999, newer than this nightreel" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_a_newer_schema_is_refused_by_all_that_read_or_write(older: Settings) -> None:
    with sql_engine(older).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0099'")
    uses: list[Callable[[], object]] = [
        lambda: upgrade_database(older),
        lambda: list_runs(older),
        lambda: rollback(older, 1),
        lambda: user_list(older, 7, 1),
    ]
    for use in uses:
        with pytest.raises(InputError, match="newer than this nightreel"):
            use()


def test_an_older_schema_is_not_read_before_it_is_upgraded(older: Settings) -> None:
    with pytest.raises(InputError, match="nightreel db upgrade"):
        list_runs(older)


@pytest.mark.parametrize("from_version", [None, 1])
def test_a_run_may_be_stored_and_may_not_be_anything(
    from_version: int | None, settings: Settings, request: pytest.FixtureRequest
) -> None:
    """On this connection and on those opened later; the constraint's other words hold as before."""
    if from_version is not None:
        request.getfixturevalue("older")
    insert = (
        "INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, k, inputs) VALUES "
        "({run}, '{status}', '2020-08-15T18:00:00+00:00', 'model', '2020-08-15T18:00:00+00:00', 1, 'inputs')"
    )
    with sql_engine(settings).connect() as connection:
        with connection.begin():
            upgrade(connection)
        with connection.begin():
            connection.exec_driver_sql(insert.format(run=11, status="stored"))
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql(insert.format(run=12, status="stored"))
        runs = connection.exec_driver_sql("SELECT run_id, replay FROM recommendation_run WHERE run_id > 10")
        assert [tuple(run) for run in runs] == [(11, False), (12, False)]
    for status in ("shown", "", "STORED"):
        with pytest.raises(IntegrityError, match="known_status"), sql_engine(settings).begin() as connection:
            connection.exec_driver_sql(insert.format(run=13, status=status))
    if settings.database.url is None:
        with reading(settings) as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
