"""What every test shares: the demo, made once in a session by the real command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from asof_fixtures import ray_cluster

Nightreel = Callable[..., subprocess.CompletedProcess[str]]


def _run_nightreel(
    *arguments: str | Path, home: Path | None = None, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    if home is not None:
        environment["NIGHTREEL_HOME"] = str(home)
    return subprocess.run(
        [Path(sys.executable).with_name("nightreel"), *arguments],
        cwd=cwd or home,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


class _WholeFiles(LoadScopeScheduling):
    """Of processes side by side, one runs a whole file, and one all files that start Ray.

    `--dist loadgroup` of xdist 3.8 does not see groups under pytest 9.2 and parts files in the middle.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "ray" if file.endswith("on_ray.py") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _WholeFiles(config, log)


@pytest.fixture(scope="session")
def nightreel() -> Nightreel:
    """Run the real command in a process of its own, without settings from outside."""
    return _run_nightreel


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that `nightreel demo` fills: synthetic data, features, models, figures and lists."""
    folder = tmp_path_factory.mktemp("demo")
    done = _run_nightreel("demo", "--home", "demo", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "demo" / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder / "demo"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes, which the tests' process has joined."""
    with ray_cluster.started() as cluster:
        yield cluster
