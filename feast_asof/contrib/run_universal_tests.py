"""Runs Feast's own universal tests of offline stores against this store: CHECKOUT [options of pytest].

CHECKOUT is a clone of feast-dev/feast, at the version that is installed here; nothing is fetched. Its tests
are copied into a folder of their own, so that they meet the Feast and the feast_asof of this environment,
which also needs what the tests import: `pip install 'feast[ci]'`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

CONTRIB = Path(__file__).resolve().parent
TESTS = Path("sdk", "python", "tests")
# Where they stand: Feast has moved those of the universal mark from the first to the second.
MARKED = ("integration", "universal")
# What pytest ends with where it finds none.
NO_TESTS = 5
NEEDED = ("pytest", "testcontainers", "minio", "pytest_asyncio", "pytest_env")


def copy_tests(checkout: Path, folder: Path) -> None:
    """The checkout's tests and their pytest.ini, without its `feast` beside them."""
    tests = checkout / TESTS
    if not (tests / "universal" / "feature_repos").is_dir():
        raise SystemExit(f"{tests}: not the tests of a checkout of Feast 0.62 or later.")
    shutil.copytree(tests, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pytest.ini", "setup.cfg"):
        if (tests.parent / name).exists():
            shutil.copy(tests.parent / name, folder / name)


def main(arguments: list[str]) -> int:
    """The exit code of pytest, of its two runs the higher one."""
    if not arguments or arguments[0].startswith("-"):
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tests(Path(arguments[0]), folder)
        missing = [module for module in NEEDED if find_spec(module) is None]
        if missing:
            raise SystemExit(f"Feast's tests import {', '.join(missing)}: pip install 'feast[ci]'.")
        print(f"feast {version('feast')}, feast-asof {version('feast-asof')}", flush=True)
        environment = {
            **os.environ,
            "FULL_REPO_CONFIGS_MODULE": "asof_repo_configuration",
            "IS_TEST": "True",
            "PYTHONPATH": os.pathsep.join([str(folder), str(CONTRIB)]),
        }
        options = ["--integration", "-m", "universal_offline_stores", *arguments[1:]]
        # One by one: the second loads the conftest of the first as a plugin, which pytest does not do twice.
        codes = [
            subprocess.run(
                [sys.executable, "-m", "pytest", f"tests/{name}", *options],
                cwd=folder,
                env=environment,
                check=False,
            ).returncode
            for name in MARKED
            if (folder / "tests" / name).is_dir()
        ]
        return max((code for code in codes if code != NO_TESTS), default=NO_TESTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
