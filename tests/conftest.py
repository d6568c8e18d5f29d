"""What every test shares: the demo, made once in a session by the real command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import ray_cluster

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


# Before xdist's own hook, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of processes side by side, one runs a whole file, and one all that needs the Ray cluster."""
    for item in items:
        group = "ray" if "cluster" in getattr(item, "fixturenames", ()) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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
