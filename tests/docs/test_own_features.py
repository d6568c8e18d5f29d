"""The page on features of one's own does what it says: its module, by the real commands, to the lists."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import lightgbm as lgb
import polars as pl

from feature_repo.home import REPOSITORY
from tests.fixtures.fork_server import forks

PAGE = Path(__file__).parents[2] / "docs" / "own-features.md"
NAMES = ["user_plays_3d", "video_completed_7d", "user_category_plays"]
VIEWS = {"own_user", "own_video", "own_user_first_level_category"}
SETTINGS = (
    'ranker.objective = "shown"\nfeatures.als.factors = 4\n'
    "ranker.lightgbm.num_iterations = 10\nranker.lightgbm.min_data_in_leaf = 20\n"
    "schedule.max_data_age_hours = 0\n"
)


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    return found.group(1)


def test_a_feature_of_ones_own_from_the_module_to_the_lists(
    tmp_path: Path, nightreel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    def run(*arguments: str) -> str:
        done = nightreel(*arguments, home=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    size = ("--users", "60", "--videos", "80", "--interactions", "6000", "--days", "10")
    (tmp_path / "nightreel.toml").write_text(SETTINGS + _block("toml"), encoding="utf-8")
    (tmp_path / "my_features.py").write_text(_block("python"), encoding="utf-8")
    run("synthesize", *size)
    run("ingest")
    for command in _block("sh").splitlines():
        if command.startswith("nightreel "):
            run(*command.split()[1:])
        else:
            assert command == "cd feature_repo && feast apply"
            _feast("apply", home=tmp_path)
    listed = {row["feature"]: row for row in json.loads(run("catalogue", "--json"))}
    assert {listed[name]["view"] for name in NAMES} == VIEWS
    assert listed["user_plays_3d"]["computed"].endswith("over plays of the last 3 day(s)")
    described = _feast("feature-views", "list", home=tmp_path)
    assert all(view in described for view in VIEWS)
    (manifest,) = (tmp_path / "data" / "models").glob("*/manifest.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["features"][-3:] == NAMES
    model = lgb.Booster(model_file=str(manifest.parent / "classifier.txt"))
    assert model.feature_name()[-3:] == NAMES
    plays = pl.read_parquet(tmp_path / "data" / "features" / "own_user.parquet")["user_plays_3d"]
    assert plays.min() == 0 and plays.n_unique() > 5
    assert "score" in run("show", str(pl.read_parquet(tmp_path / "data/tables/users.parquet")["user_id"][0]))


def _feast(*arguments: str, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    done = forks.run(["feast", *arguments], cwd=REPOSITORY, env={**environment, "NIGHTREEL_HOME": str(home)})
    assert done.returncode == 0, done.stderr
    return done.stdout
