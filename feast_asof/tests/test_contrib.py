"""The contribution for Feast: its creators choose this store, the script for its suite takes a checkout."""

import os
import re
import subprocess
import sys
from pathlib import Path

from asof_fixtures.installed import with_fixtures

CONTRIB = Path(__file__).parents[1] / "contrib"
# The part of Feast's own creators that ours build on: which class asks which for the store's configuration.
FEASTS = """
class FileDataSourceCreator:
    def create_offline_store_config(self): return "dask"
class FileParquetDatasetSourceCreator(FileDataSourceCreator): pass
class DeltaFileSourceCreator(FileDataSourceCreator): pass
class RemoteOfflineStoreDataSourceCreator(FileDataSourceCreator):
    def setup(self): return super().create_offline_store_config()
    def create_offline_store_config(self): return "remote"
"""
ASKED = """
import asof_fixtures.unchecked
from asof_repo_configuration import AVAILABLE_OFFLINE_STORES
for _, creator in AVAILABLE_OFFLINE_STORES:
    made = creator()
    config = made.setup() if hasattr(made, "setup") else made.create_offline_store_config()
    print(config.type)
    assert not hasattr(made, "setup") or made.create_offline_store_config() == "remote"
"""


def test_every_creator_tests_this_store(tmp_path: Path) -> None:
    """Behind `feast serve_offline`, it is the server's store, and the client's stays remote."""
    sources = tmp_path / "tests/universal/feature_repos/universal/data_sources"
    sources.mkdir(parents=True)
    for folder in (sources, *sources.parents[:4]):
        (folder / "__init__.py").touch()
    (sources / "file.py").write_text(FEASTS)
    code = f"import sys; sys.path[:0] = {[str(tmp_path), str(CONTRIB)]!r}\n{ASKED}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=with_fixtures(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["feast_asof.AsOfOfflineStore"] * 4


def test_the_script_says_what_is_no_checkout(tmp_path: Path) -> None:
    """In a line, with the path."""
    script = [sys.executable, str(CONTRIB / "run_universal_tests.py")]
    done = subprocess.run([*script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path}/sdk/python/tests: not the tests of a checkout" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert subprocess.run(script, capture_output=True, check=False).returncode == 1


def test_the_script_finds_the_marked_tests_wherever_feast_has_them(tmp_path: Path) -> None:
    """In `tests/integration`, as before, and in `tests/universal`, where Feast has moved them since."""
    tests = tmp_path / "checkout" / "sdk" / "python" / "tests"
    (tests / "universal" / "feature_repos").mkdir(parents=True)
    (tests / "integration").mkdir()
    marker = "universal_offline_stores"
    (tests.parent / "pytest.ini").write_text(f"[pytest]\nmarkers =\n    {marker}: of all stores\n")
    (tests / "integration" / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--integration', action='store_true')\n"
    )
    (tests / "universal" / "conftest.py").write_text("pytest_plugins = ['tests.integration.conftest']\n")
    for folder in ("", "integration", "universal"):
        (tests / folder / "__init__.py").touch()
    for folder in ("integration", "universal"):
        (tests / folder / f"test_{folder}.py").write_text(
            "import os, pytest\n"
            f"@pytest.mark.{marker}\n"
            "def test_configured():\n"
            "    assert os.environ['FULL_REPO_CONFIGS_MODULE'] == 'asof_repo_configuration'\n"
            "def test_of_something_else():\n    assert False\n"
        )
    # What Feast's own tests import is not needed by these.
    (tmp_path / "needed").mkdir()
    for module in ("testcontainers", "minio", "pytest_asyncio", "pytest_env"):
        (tmp_path / "needed" / f"{module}.py").touch()
    done = subprocess.run(
        [sys.executable, str(CONTRIB / "run_universal_tests.py"), str(tmp_path / "checkout"), "-q"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "needed"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 passed") == 2


def test_the_page_for_feast_has_the_matrix_of_the_readme() -> None:
    """Line by line; what is `S3` or `on Ray` in ours is `no` in the terms of Feast's."""
    page, readme = (
        dict(
            re.findall(r"^\| (export .*?|read .*?|persist .*?|local .*?|preview .*?)\s*\| (\w+)", text, re.M)
        )
        for text in (
            (CONTRIB / "docs" / "asof.md").read_text(encoding="utf-8"),
            (CONTRIB.parent / "README.md").read_text(encoding="utf-8"),
        )
    )
    assert len(page) == 11
    assert page == readme | {"export to data lake (S3, GCS, etc.)": "no"}
