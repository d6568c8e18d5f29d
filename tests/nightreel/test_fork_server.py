"""What the tests fork is a process like a started one: the same end, streams, folder and environment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.fork_server import forks


@pytest.mark.parametrize(
    "code",
    [
        "import sys; print(sys.argv, __name__, sys.stdin.read(), sys.stdout.isatty())",
        "import os; print(os.environ['WHERE'], 'NIGHTREEL_HOME' in os.environ, os.getcwd())",
        "import sys; print('said', file=sys.stderr); sys.exit(3)",
        "raise SystemExit('a reason')",
        "raise SystemExit",
        "1 / 0",
        "import atexit; atexit.register(print, 'at its end')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import threading; threading.Thread(target=lambda: print('a thread')).start()",
        "import subprocess, sys; sys.exit(subprocess.run(['false']).returncode)",
    ],
)
def test_a_forked_process_ends_as_a_started_one(code: str, tmp_path: Path) -> None:
    environment = {**os.environ, "WHERE": "here"}
    started = subprocess.run(
        [sys.executable, "-c", code, "x"],
        env=environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = forks.run(["-c", code, "x"], env=environment, cwd=tmp_path)
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_a_forked_process_is_waited_for_read_and_killed() -> None:
    code = "import time; print('begun', flush=True); time.sleep(600)"
    process = forks.start(["-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.01)
    process.terminate()
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert process.communicate() == ("", "")


def test_the_command_of_a_fork_says_what_the_started_one_says(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("nightreel")
    for words in (["--version"], ["publich"], ["show", "14"]):
        started = subprocess.run([script, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        forked = forks.run(["nightreel", *words], cwd=tmp_path)
        assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
        assert forked.stderr == started.stderr
