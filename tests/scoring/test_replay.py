"""A replay is stored, looked at, and shown to apps only with --publish; a dry run writes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import inspect

from nightreel.core.errors import AuditError, InputError
from nightreel.core.settings import Settings
from nightreel.operations.status import FRESH, REPLAY, status
from scoring.database.connection import reading, sql_engine
from scoring.database.dry_run import without_writing
from scoring.database.history import list_runs, rollback
from scoring.database.publish import score_and_publish
from scoring.database.schema import recorded_version, upgrade
from scoring.database.show import user_list
from scoring.lists.eligibility import default_as_of
from tests.conftest import Nightreel
from tests.fixtures.published_home import shown_rows
from tests.fixtures.scored_home import AS_OF, SEEN_ALL, make_scored_home
from tests.scoring.test_publish_atomic import runs

pytestmark = pytest.mark.one_database

PAST = AS_OF.isoformat()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("replay") / "home"
        yield make_scored_home(folder, patch)


@pytest.fixture
def scored(home: Settings, database_url: str | None, tmp_path: Path) -> Settings:
    """The home's settings with a database of this test's own."""
    url = database_url or f"sqlite:///{tmp_path / 'lists.sqlite'}"
    return home.changed({"database.url": SecretStr(url)})


def test_a_past_instant_is_stored_looked_at_and_shown_only_with_publish(
    scored: Settings, nightreel: Nightreel
) -> None:
    def score(*options: str) -> str:
        done = nightreel("score", *options, home=scored.home, NIGHTREEL_DATABASE_URL=scored.sqlalchemy_url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    score_and_publish(scored)
    before = shown_rows(scored)
    said = score("--as-of", PAST)
    assert "--run 2" in said and "--publish" in said
    assert shown_rows(scored) == before
    stored, night = list_runs(scored)
    assert (stored["status"], stored["replay"], stored["shown"]) == ("stored", True, False)
    assert stored["published_at"] is None and stored["rows"] > 0 and night["shown"]
    assert score_and_publish(scored, as_of=AS_OF).skipped
    rows = user_list(scored, SEEN_ALL, 10, run_id=2)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(InputError, match=r"stored replay.*--replay 2 --publish"):
        rollback(scored, 2)
    score("--replay", "2", "--publish")
    assert {row[0] for row in shown_rows(scored)} == {3}
    assert user_list(scored, SEEN_ALL, 10) == rows
    # Apps read a list of the past on purpose, and monitors do not hear that it is last night's.
    ageless = scored.changed({"schedule.max_data_age_hours": None})
    assert status(ageless, datetime.now(UTC)).state == REPLAY
    score_and_publish(scored)
    assert [row[1:] for row in shown_rows(scored)] == [row[1:] for row in before]
    assert status(ageless, datetime.now(UTC)).state == FRESH


def test_a_first_replay_shows_nothing(scored: Settings) -> None:
    score_and_publish(scored, as_of=AS_OF)
    assert shown_rows(scored) == [] and runs(scored) == [(1, "stored")]
    assert user_list(scored, SEEN_ALL, 1, run_id=1)[0]["rank"] == 1
    with pytest.raises(InputError, match="Nothing is published"):
        user_list(scored, SEEN_ALL, 1)
    with pytest.raises(InputError, match="no such run"):
        user_list(scored, SEEN_ALL, 1, run_id=2)


def test_the_instant_that_lists_have_by_default_is_no_replay_and_a_moment_before_it_is(
    scored: Settings,
) -> None:
    usual = default_as_of(scored.paths, scored.data, AS_OF + timedelta(days=365))
    score_and_publish(scored, as_of=usual - timedelta(microseconds=1))
    score_and_publish(scored, as_of=usual)
    # The data ends there; lists of later know as much.
    score_and_publish(scored, as_of=usual + timedelta(days=30))
    assert runs(scored) == [(1, "stored"), (2, "published"), (3, "published")]


def test_a_night_is_scored_though_a_replay_of_the_same_is_shown(scored: Settings) -> None:
    first = score_and_publish(scored).summary["run_id"]
    assert score_and_publish(scored, replay=True).skipped
    replay = score_and_publish(scored, replay=True, publish=True, force=True).summary["run_id"]
    assert score_and_publish(scored, replay=True, publish=True).skipped
    night = score_and_publish(scored)
    assert not night.skipped and night.summary["run_id"] == replay + 1 == first + 2


def _everything(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    tables = ("recommendation_run", "recommendation", "published_run", "blocklist", "skip_user", "job_run")
    with reading(settings) as connection:
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {name} ORDER BY 1, 2")]
            for name in tables
        }


def test_a_dry_run_audits_and_writes_nothing(scored: Settings, nightreel: Nightreel) -> None:
    score_and_publish(scored)
    everyone = {row[1] for row in shown_rows(scored)}
    with sql_engine(scored).begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO skip_user (user_id) VALUES ({SEEN_ALL})")
    before = _everything(scored)
    url = {"NIGHTREEL_DATABASE_URL": scored.sqlalchemy_url}
    done = nightreel("score", "--dry-run", home=scored.home, **url)
    assert done.returncode == 0, done.stderr
    assert f"users: {len(everyone) - 1}" in done.stdout and "would be published" in done.stdout
    past = without_writing(scored, lambda copied: score_and_publish(copied, as_of=AS_OF))
    assert "would be stored" in past.summary["remarks"][0] and not past.wrote
    # The audits are those of a publish: against last night's lists, as the real database has them.
    strict = scored.changed({"database.audits.min_share_of_last_run": 1.0})
    with pytest.raises(AuditError, match="in line with the last run"):
        without_writing(strict, score_and_publish)
    strict = scored.changed({"database.audits.max_changed_lists": 0.0, "lists.exclude.seen": False})
    with pytest.raises(AuditError, match="changed lists"):
        without_writing(strict, score_and_publish)
    assert _everything(scored) == before
    assert not (scored.paths.data / "dry-run").exists()


def test_a_dry_run_makes_no_database_and_upgrades_none(scored: Settings) -> None:
    assert without_writing(scored, score_and_publish).summary["rows"] > 0
    with sql_engine(scored).begin() as connection:
        assert inspect(connection).get_table_names() == []
        upgrade(connection)
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    with pytest.raises(InputError, match="nightreel db upgrade"):
        without_writing(scored, score_and_publish)
    with reading(scored) as connection:
        assert recorded_version(connection) == 3
