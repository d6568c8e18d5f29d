"""A home behind a URL is worked on by one machine at a time, whatever becomes of the one that holds it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asof_fixtures import s3
from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.lease import Lease
from nightreel.core.mirror import fetch, send
from nightreel.core.settings import Settings
from nightreel.core.storage import Folder
from tests.fixtures.at_once import nightreel_at_once
from tests.fixtures.fork_server import forks
from tests.fixtures.raw_log import RawLog

# S3 says in whole seconds when an object was written.
LASTS_S = 3.0
_IMPORTS = (
    "import sys, time; from nightreel.core.lease import Lease; from nightreel.core.storage import Folder\n"
)
_HOLDER = f"""{_IMPORTS}
Lease.acquire(Folder(sys.argv[1]), wait_s=0.0, lasts_s={LASTS_S}).keep()
print('held', flush=True)
time.sleep(60)
"""
_MARKING = f"""{_IMPORTS}
from pathlib import Path
for _ in range(3):
    lease = Lease.acquire(Folder(sys.argv[1]), wait_s=50.0, lasts_s={LASTS_S})
    mark = Path(sys.argv[2]) / 'mark'
    mark.open('x').close(); time.sleep(0.02); mark.unlink()
    lease.release()
"""


def held(url: str, wait_s: float = 0.0) -> Lease:
    return Lease.acquire(Folder(url), wait_s=wait_s, lasts_s=LASTS_S)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3.served() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield f"s3://{s3.BUCKET}"


def test_a_second_machine_waits_until_the_holder_is_dead_for_as_long_as_it_held(bucket: str) -> None:
    url = f"{bucket}/killed/lease"
    holder = forks.start(["-c", _HOLDER, url], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    # Longer than one lease: it is renewed.
    with pytest.raises(BusyError, match=f"process {holder.pid}, works on this home"):
        held(url, wait_s=LASTS_S + 1.5)
    holder.kill()
    holder.communicate()
    after = held(url, wait_s=3 * LASTS_S)
    assert after.number > 1
    after.require()
    after.release()
    assert held(url).number > after.number


def test_who_slept_through_the_end_of_its_lease_sends_nothing(bucket: str, tmp_path: Path) -> None:
    url = f"{bucket}/slept"
    homes = [
        Settings.model_validate({"home": tmp_path / name, "data.raw_dir": tmp_path / "raw", "home_url": url})
        for name in ("slow", "other", "read")
    ]
    slow, other, read = homes
    for home in (slow, other):
        (home.home / "data").mkdir(parents=True)
        (home.home / "data" / "whose.json").write_text(home.home.name)
    sleeping = held(f"{url}/lease")
    working = held(f"{url}/lease", wait_s=3 * LASTS_S)
    send(other, working)
    with pytest.raises(NightreelError, match="has run out, so nothing is sent"):
        send(slow, sleeping)
    sleeping.renew()  # it comes back, and takes nothing over
    working.require()
    fetch(read)
    assert (read.home / "data" / "whose.json").read_text() == "other"


def test_of_many_that_come_at_once_one_holds_at_a_time(tmp_path: Path) -> None:
    """Four processes, each of which marks that it works, and finds no other mark."""
    url = f"file://{tmp_path}/lease"
    running = [forks.start(["-c", _MARKING, url, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in running] == [0] * 4


def test_a_command_that_changes_the_home_ends_with_3_while_another_machine_works_on_it(
    tmp_path: Path,
) -> None:
    RawLog().write(tmp_path / "raw")
    at = {
        "NIGHTREEL_HOME": f"file://{tmp_path}/home",
        "NIGHTREEL_DATA_RAW_DIR": str(tmp_path / "raw"),
        "XDG_CACHE_HOME": str(tmp_path / "work"),
    }
    elsewhere = Lease.acquire(Folder(f"file://{tmp_path}/home/lease"), wait_s=0.0)
    code, said = nightreel_at_once("ingest", tmp_path, **at)
    assert code == 3 and "works on this home" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "home" / "home.json").exists()
    elsewhere.release()
    assert nightreel_at_once("ingest", tmp_path, **at)[0] == 0
    assert (tmp_path / "home" / "home.json").exists()
