"""docs/feast.md: apply after the demo, what hybrid_ranker asks for, tonight's lists from the online store."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from feast import FeatureService, FeatureStore
from sqlalchemy import text

from feature_repo.home import REPOSITORY
from feature_repo.open_store import store as open_store
from nightreel.core.settings import Settings
from nightreel.operations.night import night_stages
from scoring.database.connection import sql_engine
from scoring.database.show import lists_of_users
from scoring.exporting.feast import export_to_feast
from tests.conftest import Nightreel
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.published_home import publish_small_lists
from tests.fixtures.small_log import make_log

PAGE = (REPOSITORY.parent / "docs" / "feast.md").read_text(encoding="utf-8")
RANKER, LISTS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
VIEW = "user_recommendation"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        made = make_feature_home(tmp_path_factory.mktemp("feast") / "home", make_log(4), patch)
        publish_small_lists(made, (1, 2))
        yield made


def _online(users: list[int]) -> dict[int, tuple[list[int], list[float]]]:
    features = [f"{VIEW}:{name}" for name in ("video_ids", "scores", "run_id")]
    found = open_store().get_online_features(features, [{"user_id": user} for user in users]).to_dict()
    return {
        user: (videos, scores)
        for user, videos, scores in zip(found["user_id"], found["video_ids"], found["scores"], strict=True)
    }


@pytest.mark.slow
def test_apply_in_a_clone_works_on_the_demo_without_a_variable(home: Settings, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(REPOSITORY, clone / "feature_repo", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(home.home, clone / "demo")
    registry = clone / "demo" / "data" / "registry.db"
    # As where nothing was registered yet.
    for file in (*registry.parent.glob("registry.db*"), registry.with_name(".files.sha256")):
        file.unlink(missing_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    path = os.pathsep.join([str(clone), str(REPOSITORY.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [Path(sys.executable).with_name("feast"), "apply"],
        cwd=clone / "feature_repo",
        env={**inherited, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert registry.is_file()
    assert not (clone / "feature_repo" / "data").exists() and not (clone / "data").exists()


def test_the_examples_of_the_service_run(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    names = _run(RANKER, monkeypatch)
    assert len(names["offline"]) == 2
    features = [
        feature.name for view in names["service"].feature_view_projections for feature in view.features
    ]
    assert set(features) <= set(names["offline"].columns)
    assert set(features) <= set(names["online"])
    # It asks for what the page's table names, and nothing else.
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^(\| `.*?\|)", PAGE, flags=re.MULTILINE))))
    assert named == _inputs(names["store"], names["service"]) | {"event_timestamp"}


def _run(example: str, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.chdir(REPOSITORY)
    names: dict[str, Any] = {"FeatureStore": FeatureStore}
    exec(example, names)
    return names


def _inputs(store: FeatureStore, service: FeatureService) -> set[str]:
    """Join keys and request data of a service's views, those beneath on-demand views included."""
    on_demand = {view.name: view for view in store.list_on_demand_feature_views()}
    found: set[str] = set()
    for projection in service.feature_view_projections:
        view, stored = on_demand.get(projection.name), [projection.name]
        if view is not None:
            stored = [one.name for one in view.source_feature_view_projections.values()]
            for source in view.source_request_sources.values():
                found |= {field.name for field in source.schema}
        for name in stored:
            found |= set(store.get_feature_view(name).join_keys)
    return found


def test_the_online_store_serves_the_lists_that_apps_read(
    home: Settings, nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = nightreel("export", "--to", "feast", home=home.home)
    assert done.returncode == 0, done.stderr
    lists = lists_of_users(home).group_by("user_id", maintain_order=True).agg("video_id", "score")
    found = _online([*lists["user_id"].to_list(), 987_654])
    assert found.pop(987_654) == (None, None)
    for user, videos, scores in lists.iter_rows():
        assert found[user][0] == videos
        assert found[user][1] == pytest.approx(scores)
    user = str(lists["user_id"][0])
    names = _run(LISTS.replace('"user_id": 14', f'"user_id": {user}'), monkeypatch)
    assert names["lists"]["video_ids"] == [lists["video_id"][0].to_list()]
    # In the registry of the home as `feast` reads it, beside the others.
    assert VIEW in {view.name for view in open_store().list_feature_views()}


def test_a_list_is_known_from_its_export_on_and_who_has_none_any_more_an_empty_one(home: Settings) -> None:
    users = lists_of_users(home, run_id=1)["user_id"].unique().sort().to_list()
    export_to_feast(home, 1, now=NOW)
    with sql_engine(home).begin() as connection:
        connection.execute(text(f"DELETE FROM recommendation WHERE run_id = 2 AND user_id = {users[0]}"))
    later = NOW + timedelta(days=1)
    result = export_to_feast(home, 2, now=later)
    assert result.summary["users"] == len(users)
    assert _online(users[:1])[users[0]] == ([], [])
    expected = lists_of_users(home, [users[1]], run_id=2)["video_id"].to_list()
    assert _online(users[1:2])[users[1]][0] == expected
    instants = [later - timedelta(seconds=1), later + timedelta(seconds=1)]
    asked = pl.DataFrame({"user_id": [users[1]] * 2, "event_timestamp": instants})
    joined = pl.DataFrame(
        open_store()
        .get_historical_features(entity_df=asked.to_arrow(), features=[f"{VIEW}:video_ids", f"{VIEW}:run_id"])
        .to_arrow()
    ).sort("event_timestamp")
    assert joined["run_id"].to_list() == [None, 2]
    assert joined["video_ids"][1].to_list() == expected


def test_each_night_does_it_where_it_is_set(home: Settings) -> None:
    wanted = home.changed({"lists.in_feast": True})
    names = [stage.name for stage in night_stages(wanted)]
    assert names[names.index("score") + 1] == "lists to feast"
    assert "lists to feast" not in {stage.name for stage in night_stages(home)}
