"""The real `nightreel score`, killed with SIGKILL at any instant: the night's list stays readable."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from nightreel.core.settings import Settings
from scoring.database.connection import reading
from scoring.database.publish import score_and_publish
from scoring.database.tables import recommendation, recommendation_run
from tests.fixtures.fork_server import Forked
from tests.fixtures.published_home import shown_lists
from tests.fixtures.scored_home import AS_OF, make_scored_home, start_scoring


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_scored_home(tmp_path_factory.mktemp("killed") / "home", patch)


@pytest.fixture(name="settings")
def on_database(home: Settings, database_url: str | None, tmp_path: Path) -> Settings:
    url = database_url or f"sqlite:///{tmp_path / 'lists.sqlite'}"
    return home.changed({"database.url": SecretStr(url), "database.keep_runs": 3})


def _start(settings: Settings) -> Forked:
    # One user a block, so that there is time to be killed in.
    return start_scoring(settings, users_at_a_time=1)


@pytest.mark.slow
def test_the_command_killed_fifty_times_leaves_whole_lists_and_nothing_else(settings: Settings) -> None:
    score_and_publish(settings, as_of=AS_OF, publish=True)
    expected = shown_lists(settings)
    started = time.monotonic()
    assert _start(settings).wait(timeout=120) == 0
    a_run_takes_s = time.monotonic() - started
    killed = reads = 0
    instants = random.Random(7)
    for _ in range(50):
        process = _start(settings)
        # Mostly imports at first: what writes comes in the last part.
        end = time.monotonic() + instants.uniform(0.5, 1.1) * a_run_takes_s
        while time.monotonic() < end and process.poll() is None:
            assert shown_lists(settings) == expected
            reads += 1
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        assert shown_lists(settings) == expected
    score_and_publish(settings, as_of=AS_OF, publish=True, force=True)
    assert shown_lists(settings) == expected
    _verdict(settings, expected)
    assert killed >= 10 and reads > 50, (killed, reads)


def _verdict(settings: Settings, expected: list[tuple[object, ...]]) -> None:
    """All of the database: each published run has the whole list, no other row is there, none is running."""
    with reading(settings) as connection:
        runs = connection.execute(select(recommendation_run)).all()
        key = (recommendation.c.run_id, recommendation.c.user_id, recommendation.c.rank)
        stored = [tuple(row) for row in connection.execute(select(recommendation).order_by(*key))]
    published = {run.run_id for run in runs if run.status == "published"}
    assert {run.status for run in runs} <= {"published", "failed"}
    assert {row[0] for row in stored} == published
    for run_id in published:
        assert [row[1:] for row in stored if row[0] == run_id] == expected
