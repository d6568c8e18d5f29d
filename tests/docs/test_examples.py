"""Every example of the pages: run here in order against one small home, or in the table that says where else.

What a page names, such as user 4711, stands for what the small home has.
"""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import polars as pl
import pytest
import yaml
from feast.repo_config import get_offline_config_from_type

from feature_repo.home import REPOSITORY
from nightreel.core.catalogue import Feature
from nightreel.core.settings import load_settings
from tests.conftest import Nightreel
from tests.docs.blocks import ROOT, Block, blocks
from tests.fixtures.fork_server import forks
from tests.scoring.conftest import Server

DRAWN = "a picture that the reader of the page draws"
# page -> first line of a block, or the beginning of a line in it -> where else it is run, or why it is not.
ELSEWHERE = {
    "README.md": {
        "source .venv/bin/activate                    # after": "test_quick_start.py",
        "SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = 196": "test_quick_start.py",
    },
    "feast_asof/README.md": {
        "project: shop": "feast_asof/tests/test_readme.py",
        "from datetime import timedelta": "feast_asof/tests/test_readme.py",
    },
    "docs/architecture.md": {"flowchart TB": DRAWN},
    "docs/containers.md": {"docker compose": "no Docker engine here; what it starts: test_containers.py"},
    "docs/feast.md": {
        "from datetime import UTC": "tests/feature_repo/test_lists_in_feast.py",
        'store = FeatureStore(repo_path=".")': "tests/feature_repo/test_lists_in_feast.py",
    },
    "docs/how-it-works.md": {"flowchart LR": DRAWN},
    "docs/orchestrators.md": {
        "[Unit]": "both by systemd's own checker: test_orchestrators.py",
        "apiVersion: batch/v1": "no cluster here; by Kubernetes' schema: test_orchestrators.py",
        "import subprocess": "Airflow and Dagster, imported: test_orchestrators.py",
    },
    "docs/own-features.md": {
        "import polars as pl": "test_own_features.py",
        "features.modules": "test_own_features.py",
        "nightreel features": "test_own_features.py",
    },
    "docs/own-models.md": {
        "import numpy as np": "test_own_models.py",
        "class Newest": "test_own_models.py",
        '[project.entry-points."nightreel.sources"]': "test_own_models.py",
        "[retrieval]": "test_own_models.py",
        "import sys": "test_own_models.py",
    },
    "docs/postgresql.md": {
        "createdb nightreel": "below, on a server of the test's own",
        "export FEAST_FS_YAML_FILE_PATH": "tests/feature_repo/test_postgresql.py",
    },
    "docs/python.md": {
        "import nightreel": "tests/nightreel/test_python.py",
        "home = nightreel.open": "tests/nightreel/test_python.py",
    },
    "docs/read-the-table.md": {
        "from sqlalchemy import": "test_read_the_table.py",
        "nightreel export --to redis": "tests/scoring/test_export.py, on a real server",
    },
    "docs/restore.md": {"pg_dump": "test_restore.py"},
    "docs/your-data.md": {
        "nightreel init plays.csv": "test_your_data.py",
        "[data]": "test_your_data.py",
    },
}
# What takes more than its share of the suite's time.
SLOW = {"nightreel tune"}
SETTINGS = """threads = 1
ranker.objective = "shown"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.min_data_in_leaf = 20
ranker.lightgbm.early_stopping_round = 10
features.als.factors = 4
retrieval.sources = "recent_2d,item_knn"
evaluation.backtest_days = 1
lists.top_k = 10
lists.shared.related_k = 5
lists.shared.popular_k = 10
lists.shared.segments = ["user_active_degree"]
schedule.max_data_age_hours = 0
"""
# Of the pages -> of the small home.
STANDS_FOR = {
    "4711": "59",
    "WHERE video_id = 1127": "WHERE video_id = (SELECT min(video_id) FROM latest_related)",
    "--since 41": "--since 1",
    "nightreel tune --trials 80 --minutes 120": "nightreel tune --trials 2 --minutes 2",
    "nightreel tune --write": "nightreel tune --trials 2 --write",
    "/backup/": "backup/",
    "NIGHTREEL_BROWSE_PASSWORD=...": "NIGHTREEL_BROWSE_PASSWORD=a-secret-word",
    "make demo": "make --dry-run demo",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, nightreel: Nightreel) -> Path:
    """A home as of README's "Your data", with the raw files of a small KuaiRec."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "nightreel.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "KuaiRec 2.0").mkdir()
    (folder / "backup").mkdir()
    raw = {"NIGHTREEL_DATA_RAW_DIR": str(folder / "KuaiRec 2.0" / "data")}
    size = ("--users", "60", "--videos", "80", "--interactions", "6000", "--days", "14")
    done = nightreel("synthesize", *size, home=folder, **raw)
    assert done.returncode == 0, done.stderr
    return folder


class Shell:
    """Runs the lines of a page's shell blocks, with what they export and where they go to."""

    def __init__(self, home: Path, nightreel: Nightreel) -> None:
        self.folder, self._home, self._nightreel = home, home, nightreel
        self.exported: dict[str, str] = {}

    def run(self, line: str) -> None:
        """Run a line; fails where a command of it does."""
        for here, there in STANDS_FOR.items():
            line = line.replace(here, there)
        for command in line.split(" && "):
            self._run(command.strip())

    def _run(self, command: str) -> None:
        words = shlex.split(command)
        given = dict(self.exported)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            given[name] = value
        if words[0] == "export":
            self.exported |= dict(word.split("=", 1) for word in words[1:])
        elif words[0] == "cd":
            self.folder = REPOSITORY if words[1] == "feature_repo" else self.folder / words[1]
        elif command == "source .venv/bin/activate":
            pass
        elif command == "nightreel schedule" or words[:2] == ["nightreel", "browse"]:
            self._serve(words[1:], given)
        elif words[0] == "nightreel":
            done = self._nightreel(*words[1:], home=self._home, **given)
            # doctor ends with 1 where something is wrong, such as a database without lists yet.
            codes = (0, 1) if words[1] == "doctor" else (0,)
            assert done.returncode in codes, f"{command}: {done.stderr}{done.stdout}"
        elif words[0] == "feast":
            done = forks.run(words, cwd=self.folder, env=self._environment(given))
            assert done.returncode == 0, f"{command}: {done.stderr}"
        else:
            self._other(command, given)

    def _environment(self, given: dict[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
        return {**inherited, "NIGHTREEL_HOME": str(self._home), **given}

    def _other(self, command: str, given: dict[str, str]) -> None:
        program = command.split(maxsplit=1)[0]
        if program == "make":
            # That it is there, and would run; making is what CI does.
            command = command if "--dry-run" in command else command.replace("make", "make --dry-run", 1)
        elif shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")
        if program == "curl":
            with self._browsing(given) as url:
                self._bash(
                    command.replace("http://127.0.0.1:8380", url).replace("curl -s", "curl -sf"), given
                )
            return
        self._bash(command, given, ROOT if program == "make" else self._home)

    def _bash(self, command: str, given: dict[str, str], folder: Path | None = None) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder or self._home,
            env=self._environment(given),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def _serve(self, arguments: list[str], given: dict[str, str]) -> None:
        """Start what stays in the foreground, see that it is up, and end it."""
        if arguments[0] == "browse":
            with self._browsing(given, *arguments[1:]):
                return
        # Nothing is due: a night that had begun would be waited for.
        never = {"NIGHTREEL_SCHEDULE_CRON": "0 0 29 2 *"}
        environment = self._environment(given | never)
        process = forks.start(
            ["nightreel", *arguments], env=environment, stderr=subprocess.PIPE, cwd=self._home
        )
        assert process.stderr is not None
        assert "scheduler started" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 0
        process.close()

    @contextmanager
    def _browsing(self, given: dict[str, str], *arguments: str) -> Iterator[str]:
        """The page, on a port of its own; its address."""
        words = ["nightreel", "browse", *arguments, "--port", "0"]
        process = forks.start(words, env=self._environment(given), stdout=subprocess.PIPE, cwd=self._home)
        assert process.stdout is not None
        found = re.search(r":(\d+)", process.stdout.readline())
        assert found is not None
        url = f"http://127.0.0.1:{found[1]}"
        with suppress(HTTPError), urlopen(url, timeout=30):  # a password may be asked for
            pass
        yield url
        process.terminate()
        process.wait(60)
        process.close()


def _elsewhere(page: str, line: str) -> bool:
    """Whether the table says that a block with this first line, or the line alone, is run elsewhere."""
    return any(line.startswith(named) for named in ELSEWHERE.get(page, {}))


def test_the_table_names_blocks_and_lines_that_there_are() -> None:
    for page, table in ELSEWHERE.items():
        lines = [line for block in blocks() if block.page == page for line in (block.first, *block.lines)]
        for named in table:
            assert any(line.startswith(named) for line in lines), f"{page}: {named}"
    assert {line for block in blocks() for line in block.lines} >= SLOW


@pytest.mark.parametrize("page", list(dict.fromkeys(block.page for block in blocks())))
def test_the_examples_of_a_page_run(
    page: str, home: Path, nightreel: Nightreel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(home, nightreel)
    for block in (one for one in blocks() if one.page == page and not _elsewhere(page, one.first)):
        match block.language:
            case "sh":
                for line in block.lines:
                    if not _elsewhere(page, line) and line not in SLOW:
                        shell.run(line)
            case "sql":
                _sql(block, home)
            case "toml":
                _toml(block, tmp_path, monkeypatch)
            case "python":
                exec(block.text, {"pl": pl, "Feature": Feature})
            case "yaml":
                _feast_yaml(block)
            case "ini":
                _unit(block, tmp_path)
            case _:
                pytest.fail(f"{page}: a block of {block.language} that nothing runs; {block.first}")


def _sql(block: Block, home: Path) -> None:
    text = block.text
    for here, there in STANDS_FOR.items():
        text = text.replace(here, there)
    with closing(sqlite3.connect(home / "data" / "nightreel.sqlite")) as connection:
        for statement in text.split(";\n"):
            rows = connection.execute(statement).fetchall()
            assert rows or "latest_" not in statement, statement


def _toml(block: Block, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The settings are read, each within its limits."""
    (folder / "nightreel.toml").write_text(block.text, encoding="utf-8")
    patch.setenv("NIGHTREEL_HOME", str(folder))
    load_settings()


def _feast_yaml(block: Block) -> None:
    store = yaml.safe_load(block.text)["offline_store"]
    assert get_offline_config_from_type(store["type"])(**store)


def _unit(block: Block, folder: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("no systemd-analyze on this machine")
    file = folder / "nightreel.service"
    # It looks for the program, which is elsewhere here.
    file.write_text(
        re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", block.text), encoding="utf-8"
    )
    done = subprocess.run([checker, "verify", file], capture_output=True, text=True, check=False)
    assert (done.returncode, "nightreel" in done.stderr) == (0, False), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("line", sorted(SLOW))
def test_what_takes_long_runs(line: str, home: Path, nightreel: Nightreel) -> None:
    shell = Shell(home, nightreel)
    shell.exported["NIGHTREEL_DATA_RAW_DIR"] = str(home / "KuaiRec 2.0" / "data")
    shell.run(f"nightreel run && {line}")


def test_the_lines_for_postgresql_run(home: Path, nightreel: Nightreel) -> None:
    block = next(one for one in blocks() if one.page == "docs/postgresql.md")
    server = Server()
    try:
        shell = Shell(home, nightreel)
        for line in block.lines:
            if not line.startswith("createdb"):
                shell.run(re.sub(r"'postgresql.*'", shlex.quote(server.url), line))
    finally:
        server.remove()
