"""Killed with SIGKILL at any change that they make: forget, outcomes, rules, exposures and backfill.

The previous state or the complete new one is left, and running again ends as if nothing had happened.
"""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, text

from nightreel.core.settings import Settings, load_settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from scoring.database.connection import reading, sql_engine
from scoring.database.history import list_runs
from scoring.database.list_rules import add_rule, list_rules
from scoring.database.schema import upgrade
from scoring.database.tables import list_exposure, list_night, list_outcome, list_reach
from scoring.database.writer import exclusive_lock
from scoring.lists.rules.owner import BOOST, VIDEO, OwnerRule
from tests.fixtures.killed import finish, kill
from tests.fixtures.published_home import publish_small_lists
from tests.fixtures.raw_log import RawLog
from tests.fixtures.scored_home import DAYS, make_scored_home
from tests.fixtures.small_log import FIRST_DAY
from tests.fixtures.tables import read_table
from tests.scoring.test_backfill import rows_of
from tests.scoring.test_forget import USER, found_in
from tests.scoring.test_outcomes import (
    DAY,
    FLIP,
    SHOWN,
    YESTERDAY,
    display,
    publish_night,
    rows,
    write_exposures,
    write_log,
)

EXPOSURES = "user_id,video_id,timestamp,position,run\n14,148,1593898060,1,1\n15,148,1593898061,2,1\n"


def _instants(changes: int, most: int) -> list[int]:
    """Changes at which to be killed: the first, the last, and some evenly between."""
    return sorted({1 + round(n * (changes - 1) / (most - 1)) for n in range(most)})


@pytest.fixture
def person_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that holds the user in raw files, deliveries, displays, tables, and two runs' lists."""
    home = tmp_path / "home"
    raw = RawLog()
    raw.files["exposures.csv"] = EXPOSURES
    for name in ("big_matrix.csv", "exposures.csv", "user_features.csv"):
        raw.files[name] = raw.files[name].replace("\n14,", f"\n{USER},")
    raw.write(home / "raw")
    (home / "nightreel.toml").write_text("lists.top_k = 10\n")
    monkeypatch.setenv("NIGHTREEL_HOME", str(home))
    settings = load_settings()
    ingest(settings)
    incoming = home / "raw" / "incoming"
    incoming.mkdir()
    (incoming / "exposures_2.csv").write_text(EXPOSURES.replace("\n14,", f"\n{USER},").replace("148", "183"))
    merge_deliveries(settings)
    ingest(settings)
    publish_small_lists(settings, (1, 2))
    with sql_engine(settings).begin() as connection:
        last = connection.execute(text("SELECT max(user_id) FROM recommendation")).scalar_one()
        connection.execute(text(f"UPDATE recommendation SET user_id = {USER} WHERE user_id = {last}"))
        connection.execute(text(f"INSERT INTO list_repeat VALUES (2, {USER}, '[[100, 1]]')"))
    sql_engine(settings).dispose()
    monkeypatch.delenv("NIGHTREEL_HOME")  # it would be the home of the copies too
    return home


def _kept(home: Path) -> dict[str, bytes]:
    """The raw files, and those of tables as rows."""
    raw = {path.name: path.read_bytes() for path in sorted((home / "raw").rglob("*.csv"))}
    tables = {
        str(path.relative_to(home)): str(pl.read_parquet(path).rows()).encode()
        for path in sorted((home / "data" / "tables").rglob("*.parquet"))
    }
    return raw | tables


def test_forget_killed_anywhere_is_done_by_the_same_command(person_home: Path, tmp_path: Path) -> None:
    for where in ("exposures.csv", "taken", "tables/exposures", "nightreel.sqlite"):
        assert any(where in one for one in found_in(person_home)), where
    whole = _copied(person_home, tmp_path / "whole")
    changes = finish(whole, "forget", str(USER))
    assert found_in(whole.home) == set()
    expected = _kept(whole.home)
    assert len(read_table(whole, "exposures")) == 2
    for at in _instants(changes, 8):
        settings = _copied(person_home, tmp_path / f"killed at {at}")
        assert kill(settings, "forget", str(USER), at)
        finish(settings, "forget", str(USER))
        assert found_in(settings.home) == set(), at
        assert _kept(settings.home) == expected, at


def _copied(home: Path, to: Path) -> Settings:
    shutil.copytree(home, to)
    return Settings.model_validate({"home": to, "data.raw_dir": to / "raw", "lists.top_k": 10})


def test_exposures_killed_while_they_are_read_are_read_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    raw = RawLog()
    raw.files["exposures.csv"] = EXPOSURES
    raw.write(tmp_path / "raw")
    settings = load_settings()
    ingest(settings)
    file = tmp_path / "raw" / "exposures.csv"
    more = EXPOSURES + "16,183,1593964900,1,2\n"
    for n, at in enumerate((1, 2, 4, 7, 11)):
        rows_before, content = (2, more) if n % 2 == 0 else (3, EXPOSURES)
        file.write_text(content)
        kill(settings, "ingest", "", at)
        ingest(settings)
        assert read_table(settings, "exposures").height == 5 - rows_before


@pytest.mark.one_database
def test_outcomes_killed_anywhere_are_all_there_or_none(settings: Settings) -> None:
    publish_night(settings, FLIP)
    publish_night(settings, FLIP + DAY)
    write_log(settings, YESTERDAY + SHOWN)
    write_exposures(settings, [display(1, 101, FLIP + timedelta(minutes=30), 1)])
    now = (FLIP + 3 * DAY).isoformat()
    tables = (list_exposure, list_outcome, list_reach, list_night)
    changes = finish(settings, "outcomes", now)

    def counted() -> list[list[dict[str, Any]]]:
        found = [rows(settings, table) for table in tables]
        return [[{k: v for k, v in row.items() if k != "recorded_at"} for row in of] for of in found]

    expected = counted()
    assert all(expected)
    for at in _instants(changes, 4):
        with sql_engine(settings).begin() as connection:
            for table in tables:
                connection.execute(delete(table))
        kill(settings, "outcomes", now, at)
        assert counted() in ([[]] * len(tables), expected), at
        finish(settings, "outcomes", now)
        assert counted() == expected, at


@pytest.mark.one_database
def test_a_rule_whose_command_is_killed_is_there_whole_or_not(settings: Settings) -> None:
    add_rule(settings, OwnerRule(0, BOOST, VIDEO, "9", strength=2.0))
    for at in range(1, 30):
        if not kill(settings, "rule", str(100 + at), at):
            break
    found = list_rules(settings)
    assert [one["rule"] for one in found] == list(range(1, len(found) + 1))
    assert all((one["kind"], one["number"], one["reason"]) == ("pin", 3, "spring") for one in found[1:])
    # The last one was not killed: whatever was before kept nothing locked.
    assert found[-1]["item"] == str(100 + at)


@pytest.fixture(scope="module")
def scored_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_scored_home(tmp_path_factory.mktemp("killed") / "home", patch)


@pytest.mark.slow
def test_backfill_killed_anywhere_goes_on_where_it_was(
    scored_home: Settings, database_url: str | None, tmp_path: Path
) -> None:
    last = FIRST_DAY + timedelta(days=DAYS - 1)
    days = f"{last - timedelta(days=1)}/{last}"

    def database(name: str) -> Settings:
        url = database_url or f"sqlite:///{tmp_path / name}.sqlite"
        settings = scored_home.changed({"database.url": SecretStr(url)})
        # All begin from tables without rows: to make them is no change of a backfill's.
        opened = sql_engine(settings)
        with exclusive_lock(opened) as connection, connection.begin():
            upgrade(connection)
            for table in ("list_outcome", "list_reach", "list_candidate", "list_night", "recommendation"):
                connection.execute(text(f"DELETE FROM {table}"))
            connection.execute(text("DELETE FROM recommendation_run"))
        return settings

    whole = database("whole")
    changes = finish(whole, "backfill", days)
    expected = {one["as_of"]: rows_of(whole, one["run_id"]) for one in list_runs(whole)}
    assert len(expected) == 2
    for at in _instants(changes, 6)[1:-1]:
        settings = database(f"killed{at}")
        assert kill(settings, "backfill", days, at)
        finish(settings, "backfill", days)
        stored = [one for one in list_runs(settings) if one["status"] == "stored"]
        assert {one["as_of"]: rows_of(settings, one["run_id"]) for one in stored} == expected
        assert len(stored) == 2
        with reading(settings) as connection:
            assert connection.execute(list_night.select()).all()
