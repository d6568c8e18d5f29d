"""What the tests of several files share: the cluster, and a word on what they are compared with."""

# Before Feast, which then comes without its checks of types: with them the tests take a third more.
# test_readme.py joins with them.
import asof_fixtures.unchecked  # noqa: F401  # isort: skip

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from asof_fixtures import ray_cluster
from asof_fixtures.installed import FEAST, HAS_REFERENCE, module_or_skip


def pytest_report_header() -> str:
    """Which Feast is tested, and whether its own store is there to compare with."""
    return f"feast {FEAST}, compared with its DuckDB store: {'yes' if HAS_REFERENCE else 'no'}"


def pytest_collection_finish() -> None:
    """Look for garbage from here on, not among all that was imported: that takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes, which the tests' process has joined."""
    module_or_skip("ray")
    with ray_cluster.started() as cluster:
        yield cluster
