"""The engine: Ray is only needed where it is set, and without it the error says what to install."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nightreel.core import cluster
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from tests.fixtures.fork_server import forks
from tests.fixtures.scored_home import PAST, make_scored_home

# As in an environment without the extra: an import of Ray fails.
_WITHOUT_RAY = "import sys; sys.modules['ray'] = None; from nightreel.cli import main; main()"

_JOIN = (
    "from nightreel.core import cluster; from nightreel.core.settings import load_settings; "
    "cluster.connected(load_settings().cluster).__enter__()"
)


def _nightreel(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    return forks.run(
        ["-c", _WITHOUT_RAY, *arguments], env={**inherited, "NIGHTREEL_HOME": str(home), **environment}
    )


def test_without_the_extra_every_step_works_and_imports_no_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_scored_home(tmp_path / "home", monkeypatch)
    for step in (["features", "--force"], ["train", "--force"], ["score", *PAST]):
        done = _nightreel(settings.home, *step)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("step", ["features", "train", "score", "run"])
def test_the_engine_ray_without_its_extra_is_one_line_and_exit_code_2(step: str, tmp_path: Path) -> None:
    done = _nightreel(tmp_path, step, NIGHTREEL_CLUSTER_ENGINE="ray")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'nightreel[ray]'" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_cluster_that_is_not_there_is_one_error_that_names_its_address(tmp_path: Path) -> None:
    """In a process of its own: this one may be connected to a cluster already."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        joined = subprocess.run(
            [sys.executable, "-c", _JOIN],
            env={
                **os.environ,
                "NIGHTREEL_HOME": str(tmp_path),
                "NIGHTREEL_CLUSTER_ENGINE": "ray",
                "NIGHTREEL_CLUSTER_RAY_ADDRESS": address,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    said = joined.stderr.strip().splitlines()[-1]
    assert said.startswith(f"nightreel.core.errors.NightreelError: Ray cluster {address}")
    assert "ray_address" in said


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"home": tmp_path, "cluster.engine": "ray", "cluster.ray_address": "ray://head"}
    )
    with pytest.raises(InputError, match="ray_address"):
        cluster.connected(settings.cluster).__enter__()
