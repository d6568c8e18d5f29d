"""Runs are listed, and an earlier one is shown again in one step, by the only writer."""

import json
from datetime import timedelta

import pytest

from nightreel.core.errors import BusyError, InputError
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.history import list_runs, rollback
from scoring.database.writer import exclusive_lock
from scoring.lists.rows import Lists
from tests.conftest import Nightreel
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.test_publish_atomic import NIGHT, expected_rows, publish_lists

pytestmark = pytest.mark.current_schema

CANDIDATES = make_candidates(41)


@pytest.fixture
def three_runs(settings: Settings) -> Settings:
    """Runs 1 and 3 published, 2 failed."""
    publish_lists(settings, CANDIDATES, make_blocks(CANDIDATES, 1, k=10))
    with pytest.raises(Exception, match="every eligible user"):
        publish_lists(settings, CANDIDATES, [], NIGHT + timedelta(days=1))
    publish_lists(settings, CANDIDATES, make_blocks(CANDIDATES, 3, k=10), NIGHT + timedelta(days=2))
    return settings


def test_runs_are_listed_newest_first_with_the_one_that_is_shown(three_runs: Settings) -> None:
    listed = list_runs(three_runs)
    assert [(run["run_id"], run["status"], run["shown"]) for run in listed] == [
        (3, "published", True),
        (2, "failed", False),
        (1, "published", False),
    ]
    assert listed[0]["as_of"] == NIGHT + timedelta(days=2)
    assert "every eligible user" in listed[1]["error"]


def test_an_earlier_run_is_shown_again_and_the_next_one_as_ever(three_runs: Settings) -> None:
    assert rollback(three_runs, 1) == 3
    assert shown_rows(three_runs) == expected_rows(1, make_blocks(CANDIDATES, 1, k=10))
    assert rollback(three_runs, 1) == 1
    assert rollback(three_runs, 3) == 1
    assert shown_rows(three_runs) == expected_rows(3, make_blocks(CANDIDATES, 3, k=10))
    rollback(three_runs, 1)
    publish_lists(three_runs, CANDIDATES, make_blocks(CANDIDATES, 4, k=10), NIGHT + timedelta(days=3))
    assert {row[0] for row in shown_rows(three_runs)} == {4}


def test_the_run_that_is_shown_is_never_pruned(three_runs: Settings) -> None:
    rollback(three_runs, 1)
    one = three_runs.changed({"database.keep_runs": 1})
    with pytest.raises(Exception, match="every eligible user"):
        publish_lists(one, CANDIDATES, list[Lists](), NIGHT + timedelta(days=3))
    assert {row[0] for row in shown_rows(three_runs)} == {1}


@pytest.mark.parametrize(("run_id", "why"), [(99, "no such run"), (2, "failed and has no lists: audit")])
def test_a_run_that_cannot_be_shown_changes_nothing(three_runs: Settings, run_id: int, why: str) -> None:
    before = shown_rows(three_runs)
    with pytest.raises(InputError, match=why):
        rollback(three_runs, run_id)
    assert shown_rows(three_runs) == before


def test_there_is_no_way_back_while_another_process_publishes(three_runs: Settings) -> None:
    with exclusive_lock(sql_engine(three_runs)), pytest.raises(BusyError) as failure:
        rollback(three_runs, 1)
    assert failure.value.exit_code == 3


def test_the_commands_list_and_roll_back(three_runs: Settings, nightreel: Nightreel) -> None:
    environment = {}
    if three_runs.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = three_runs.database.url.get_secret_value()

    def run(*command: str) -> tuple[int, str]:
        done = nightreel(*command, home=three_runs.home, **environment)
        return done.returncode, done.stdout + done.stderr

    assert run("rollback", "1") == (0, "run 1 is shown, instead of run 3\n")
    code, said = run("runs", "--json")
    assert code == 0
    assert [row["run_id"] for row in json.loads(said) if row["shown"]] == [1]
    with exclusive_lock(sql_engine(three_runs)):
        code, said = run("rollback", "3")
        assert code == 3 and len(said.splitlines()) == 1 and "is publishing" in said
