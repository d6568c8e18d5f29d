"""One writer at a time; the second one learns who writes, and a dead one blocks nobody."""

import os
import subprocess

import pytest

from nightreel.core.errors import BusyError
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.writer import exclusive_lock
from tests.fixtures.fork_server import forks

HOLD = """
import signal, sys
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.writer import exclusive_lock
settings = Settings.model_validate({'home': sys.argv[1]})
with exclusive_lock(sql_engine(settings)):
    print("writing", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(settings: Settings):  # type: ignore[no-untyped-def]
    """Another process that is the writer."""
    environment = dict(os.environ)
    if settings.database.url is not None:
        environment["NIGHTREEL_DATABASE_URL"] = settings.database.url.get_secret_value()
    process = forks.start(["-c", HOLD, str(settings.home)], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_writer_is_told_who_holds_it(settings: Settings, holder) -> None:  # type: ignore[no-untyped-def]
    busy = pytest.raises(BusyError, match=f"process {holder.pid}, since 20")
    with busy as failure, exclusive_lock(sql_engine(settings)):
        pytest.fail("two writers at once")
    assert failure.value.exit_code == 3


def test_a_killed_writers_place_is_free(settings: Settings, holder) -> None:  # type: ignore[no-untyped-def]
    holder.kill()
    holder.wait()
    with exclusive_lock(sql_engine(settings)):
        pass


def test_one_process_cannot_write_twice_at_once(settings: Settings) -> None:
    busy = pytest.raises(BusyError, match=f"process {os.getpid()}")
    with exclusive_lock(sql_engine(settings)), busy, exclusive_lock(sql_engine(settings)):
        pytest.fail("two writers at once")
    with exclusive_lock(sql_engine(settings)):
        pass
