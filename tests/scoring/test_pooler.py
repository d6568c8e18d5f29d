"""Behind a real PgBouncer: one writer at a time, and no lock that outlives its holder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.failures import translate_errors
from scoring.database.writer import exclusive_lock, sole_job
from tests.fixtures.fork_server import forks
from tests.fixtures.published_home import publish_small_lists, shown_rows
from tests.scoring.conftest import Server
from tests.scoring.test_exclusive_lock import HOLD

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer on this machine (apt: pgbouncer)")


@pytest.fixture(params=["transaction", "session", "statement"])
def pool_mode(request: pytest.FixtureRequest) -> str:
    mode: str = request.param
    return mode


@pytest.fixture
def pooled(postgresql: Server, tmp_path: Path, pool_mode: str) -> Iterator[Settings]:
    """Settings whose database is behind a pooler as Debian installs it, except for its mode."""
    target = make_url(postgresql.url)
    name = f"pooled_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(postgresql.url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(str(target.query["host"]))
    configuration = tmp_path / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{name} = host={folder} dbname={name} user={target.username}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
        f"pool_mode = {pool_mode}\nunix_socket_dir =\n"
    )
    command = [str(PGBOUNCER), "-q", str(configuration)]
    if os.geteuid() == 0:
        # It refuses to run as root; the one who runs the server may read its socket.
        for path in (configuration, *tmp_path.parents):
            path.chmod(path.stat().st_mode | 0o055)
        command[1:1] = ["-u", (folder / "postmaster.pid").owner()]
    said = tmp_path / "pgbouncer.log"
    with said.open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _wait_for(port, process, said)
        home = tmp_path / "home"
        url = f"postgresql+psycopg://someone:pw@127.0.0.1:{port}/{name}"
        yield Settings.model_validate({"home": home, "database.url": SecretStr(url), "lists.top_k": 10})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        with psycopg.connect(postgresql.url, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("the pooler does not listen")


def _locks(postgresql: Server) -> int:
    with psycopg.connect(postgresql.url) as server:
        found = server.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.parametrize("pool_mode", ["transaction", "session"], indirect=True)
def test_lists_are_published_through_a_pooler_and_no_lock_is_left(
    pooled: Settings, postgresql: Server
) -> None:
    """Twice, so that what the pooler kept of the first run would meet the second."""
    publish_small_lists(pooled, seeds=(1, 2, 3))
    assert {row[0] for row in shown_rows(pooled)} == {3}
    assert _locks(postgresql) == 0


@pytest.mark.parametrize("pool_mode", ["transaction", "session"], indirect=True)
def test_one_writer_at_a_time_through_a_pooler_and_a_killed_ones_lock_is_free(
    pooled: Settings, postgresql: Server
) -> None:
    assert pooled.database.url is not None
    environment = {**os.environ, "NIGHTREEL_DATABASE_URL": pooled.database.url.get_secret_value()}
    holder = forks.start(["-c", HOLD, str(pooled.home)], stdout=subprocess.PIPE, env=environment)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "writing\n"
        for _ in range(3):
            busy = pytest.raises(BusyError, match=f"process {holder.pid}, since 20")
            with busy, exclusive_lock(sql_engine(pooled)):
                pytest.fail("two writers at once")
        with sole_job(sql_engine(pooled)):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with exclusive_lock(sql_engine(pooled)):
        pass
    assert _locks(postgresql) == 0


@pytest.mark.parametrize("pool_mode", ["statement"], indirect=True)
def test_a_pooler_of_single_statements_is_refused_with_the_mode_that_works(pooled: Settings) -> None:
    with pytest.raises(NightreelError, match="pool_mode = transaction"):
        publish_small_lists(pooled)


@pytest.mark.parametrize("pool_mode", ["transaction"], indirect=True)
def test_an_option_that_the_pooler_refuses_is_named_with_its_remedy(pooled: Settings) -> None:
    assert pooled.database.url is not None
    url = pooled.database.url.get_secret_value() + "?options=-c%20search_path%3Dpublic"
    settings = pooled.changed({"database.url": SecretStr(url)})
    refused = pytest.raises(NightreelError, match=r"unsupported startup parameter.*take the option out")
    with refused, translate_errors(make_url(url)), exclusive_lock(sql_engine(settings)):
        pass
