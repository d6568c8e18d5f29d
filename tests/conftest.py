"""What every test shares: the demo, made once in a session by the real command."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from asof_fixtures import ray_cluster
from tests.fixtures import durations
from tests.fixtures.fork_server import forks
from tests.fixtures.processors import LOWEST

Nightreel = Callable[..., subprocess.CompletedProcess[str]]
_FORK_SERVER = "fork_server"


def _run_nightreel(
    *arguments: str | Path,
    home: Path | None = None,
    cwd: Path | None = None,
    fresh: bool = False,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """fresh: started, not forked from a process that has the libraries, as with variables that they read."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    fresh = fresh or not all(name.startswith(("NIGHTREEL_", "AWS_", "XDG_")) for name in environment)
    if home is not None:
        environment["NIGHTREEL_HOME"] = str(home)
    environment = {**inherited, **environment}
    if not fresh:
        return forks.run(["nightreel", *arguments], env=environment, cwd=cwd or home)
    return subprocess.run(
        [Path(sys.executable).with_name("nightreel"), *arguments],
        cwd=cwd or home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


# Files of one process: each of them would start a cluster, or import JAX and compile with it.
_TOGETHER = {"ray": ("on_ray.py",), "jax": ("pipelines/test_sequence.py", "pipelines/test_retrieval.py")}


def _scope(file: str) -> str:
    return next((name for name, ends in _TOGETHER.items() if file.endswith(ends)), file)


class _WholeFiles(LoadScopeScheduling):
    """Of processes side by side, one runs a whole file, and one all files that start Ray or need JAX.

    `--dist loadgroup` of xdist 3.8 does not see groups under pytest 9.2 and parts files in the middle.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    # Otherwise the files of most tests come first.
    config.option.loadscopereorder = False
    return _WholeFiles(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in their order."""
    seconds = durations.recorded()
    of_scope: Counter[str] = Counter()
    for file in {item.nodeid.partition("::")[0] for item in items}:
        of_scope[_scope(file)] += seconds.get(file, 0)
    items.sort(key=lambda item: -of_scope[_scope(item.nodeid.partition("::")[0])])


def pytest_configure(config: pytest.Config) -> None:
    forks.address = getattr(config, "workerinput", {}).get(_FORK_SERVER)
    if os.environ.get("RECORD_DURATIONS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(durations.Recorder())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tests side by side have one server: it imports while they look for their tests."""
    node.workerinput[_FORK_SERVER] = forks.begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started for all tests."""
    forks.stop()


@pytest.fixture(scope="session")
def nightreel() -> Nightreel:
    """Run the real command in a process of its own, without settings from outside."""
    return _run_nightreel


# The real command with less data: `make test-slow` makes the whole demo.
DEMO_USERS = 300
_SMALL_DEMO = f"""
from dataclasses import replace
from nightreel.operations import synthetic_home
size = dict(users={DEMO_USERS}, videos=1_000, interactions=60_000, days=35)
synthetic_home.DEMO = replace(synthetic_home.DEMO, **size)
from nightreel.cli import main
main()
"""
# What the demo would choose, without the contest and most lists of past days, which take most of its time.
_SHORT_DEMO = """schedule.max_data_age_hours = 0
ranker.objective = "shown"
ranker.lightgbm.num_iterations = 100
retrieval.sources = "als,recent_2d"
evaluation.backtest_days = 1
"""


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that `nightreel demo` fills with a small world: raw data, features, models, figures and lists.

    As the oldest processor computes it, whose kernels hardly another test meets.
    """
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo").mkdir()
    (folder / "demo" / "nightreel.toml").write_text(_SHORT_DEMO, encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_DEMO, "demo", "--home", "demo"],
        cwd=folder,
        env={**inherited, **LOWEST},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    (folder / "demo" / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder / "demo"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes, which the tests' process has joined."""
    with ray_cluster.started() as cluster:
        yield cluster
