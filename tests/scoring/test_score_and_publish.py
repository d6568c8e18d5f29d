"""The whole step on both databases: skipped when done, repeatable, honest about time, and shown to people."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.rankers import train
from scoring.database.connection import sql_engine
from scoring.database.history import list_runs
from scoring.database.publish import score_and_publish
from scoring.database.show import user_list
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.published_home import shown_rows, shown_shared
from tests.fixtures.scored_home import (
    AS_OF,
    LATE,
    NEVER_PLAYED,
    SEEN_ALL,
    SHARED,
    make_scored_home,
    scoring_log,
)
from tests.fixtures.small_log import SmallLog

pytestmark = pytest.mark.one_database

LOG = scoring_log()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_scored_home(tmp_path_factory.mktemp("publish") / "home", patch)


@pytest.fixture
def settings(home: Settings, database_url: str | None, tmp_path: Path) -> Settings:
    """The home's settings with a database of this test's own."""
    url = database_url or f"sqlite:///{tmp_path / 'lists.sqlite'}"
    return home.changed({"database.url": SecretStr(url)})


def test_every_user_has_a_list_and_a_second_run_is_skipped(settings: Settings) -> None:
    first = score_and_publish(settings)
    assert not first.skipped
    shown = shown_rows(settings)
    users = {*LOG.users[columns.USER_ID], *LOG.interactions[columns.USER_ID]}
    assert {row[1] for row in shown} == users
    assert first.summary["rows"] == len(shown)
    assert set(first.summary["seconds"]) == {"prepare", "write", "audit", "prune"}
    second = score_and_publish(settings)
    assert second.skipped and second.summary["run_id"] == 1
    assert shown_rows(settings) == shown


def test_another_setting_or_instant_or_force_scores_again(settings: Settings) -> None:
    score_and_publish(settings)
    assert score_and_publish(settings, force=True).summary["run_id"] == 2
    assert score_and_publish(settings, as_of=AS_OF, publish=True).summary["run_id"] == 3
    changes = ({"lists.top_k": 5}, {"ranker.filter_k": 7}, {"lists.exclude.seen": False})
    for run_id, change in enumerate(changes, start=4):
        found = score_and_publish(settings.changed(change), as_of=AS_OF, publish=True)
        assert found.summary["run_id"] == run_id, change


def test_the_owners_tables_count_from_the_next_run(settings: Settings) -> None:
    score_and_publish(settings, as_of=AS_OF, publish=True)
    before = shown_rows(settings)
    video, user = before[0][3], before[-1][1]
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO blocklist (video_id, reason) VALUES ({video}, 'court order')"
        )
        connection.exec_driver_sql(f"INSERT INTO skip_user (user_id) VALUES ({user})")
    assert shown_rows(settings) == before
    assert score_and_publish(settings, as_of=AS_OF, publish=True).summary["run_id"] == 2
    after = shown_rows(settings)
    assert {row[1] for row in before} - {row[1] for row in after} == {user}
    assert video not in {row[3] for row in after} and len(after) == len(before) - 6
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql("DELETE FROM blocklist")
        connection.exec_driver_sql("DELETE FROM skip_user")
    score_and_publish(settings, as_of=AS_OF, publish=True)
    assert [row[1:] for row in shown_rows(settings)] == [row[1:] for row in before]


def test_caps_hold_from_settings_to_the_table(settings: Settings) -> None:
    score_and_publish(
        settings.changed({"lists.max_per.category": 2, "lists.max_per.author": 2}), as_of=AS_OF, publish=True
    )
    categories = dict(LOG.video_captions.select(columns.VIDEO_ID, columns.CATEGORY_LEVELS[0]).iter_rows())
    counts = Counter((row[1], categories[row[3]]) for row in shown_rows(settings))
    assert max(counts.values()) == 2


def test_the_same_instant_gives_the_same_rows(settings: Settings) -> None:
    score_and_publish(settings, as_of=AS_OF, publish=True)
    first = [row[1:] for row in shown_rows(settings)]
    score_and_publish(settings)
    assert [row[1:] for row in shown_rows(settings)] != first
    score_and_publish(settings, as_of=AS_OF, publish=True)
    assert [row[1:] for row in shown_rows(settings)] == first


def test_lists_that_are_not_a_users_come_with_a_night_and_again_with_its_replay(settings: Settings) -> None:
    with_shared = settings.changed(SHARED)
    first = score_and_publish(with_shared, as_of=AS_OF, publish=True).summary
    related, popular = shown = shown_shared(settings)
    assert first["related_rows"] == len(related) > 50
    assert first["popular_rows"] == len(popular) > 16
    listable = {row[3] for row in shown_rows(settings)}
    assert {row[0] for row in related} | {row[2] for row in related} >= listable
    assert {row[0] for row in popular} == {"overall", "user_active_degree"}
    assert score_and_publish(with_shared, as_of=AS_OF, publish=True).skipped
    # The newest night has other ones; without the settings there are none.
    score_and_publish(with_shared)
    assert shown_shared(settings) != shown
    score_and_publish(settings)
    assert shown_shared(settings) == [[], []]
    score_and_publish(with_shared, as_of=AS_OF, replay=True, publish=True)
    assert shown_shared(settings) == shown
    blocked = related[0][2]
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO blocklist (video_id) VALUES ({blocked})")
    score_and_publish(with_shared, as_of=AS_OF, publish=True)
    related, popular = shown_shared(settings)
    assert blocked not in {row[0] for row in related} | {row[2] for row in related}
    assert blocked not in {row[3] for row in popular}


def test_a_night_comes_again_with_its_instant_and_its_model_whoever_is_champion(
    home: Settings, settings: Settings
) -> None:
    score_and_publish(settings, as_of=AS_OF, publish=True)
    first = shown_rows(settings)
    night = list_runs(settings)[0]
    before = model_registry.champion(home.paths)
    try:
        assert (
            train(home.changed({"ranker.lightgbm.num_iterations": 3})).summary["version"]
            != night["model_version"]
        )
        other = [path.name for path in home.paths.models.iterdir() if path.is_dir()]
        other_version = next(version for version in other if version != night["model_version"])
        model_registry.promote(home.paths, model_registry.find(home.paths, other_version))
        score_and_publish(settings, as_of=AS_OF, publish=True)
        assert [row[1:] for row in shown_rows(settings)] != [row[1:] for row in first]
        score_and_publish(settings, as_of=night["as_of"], publish=True, model_version=night["model_version"])
        assert [row[1:] for row in shown_rows(settings)] == [row[1:] for row in first]
    finally:
        model_registry.promote(home.paths, before)
    with pytest.raises(InputError, match="no such model version"):
        score_and_publish(settings, as_of=AS_OF, publish=True, model_version="20200101-none")


def test_a_runs_seconds_by_stage_are_kept_with_it(settings: Settings) -> None:
    score_and_publish(settings)
    assert set(json.loads(list_runs(settings)[0]["stages"])) == {"prepare", "write", "audit", "prune"}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_both_databases_hold_the_same_rows(home: Settings, settings: Settings, tmp_path: Path) -> None:
    other = home.changed({"database.url": SecretStr(f"sqlite:///{tmp_path / 'other.sqlite'}")})
    for one in (settings, other):
        score_and_publish(one.changed(SHARED))
    assert shown_rows(settings) == shown_rows(other)
    assert shown_shared(settings) == shown_shared(other)


def _without_the_future(log: SmallLog) -> SmallLog:
    """Nothing at or after AS_OF: neither its plays nor the records of days that end later."""
    last_day = AS_OF.astimezone(load_settings().data.zone).date() - timedelta(days=1)
    interactions = log.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < AS_OF)
    daily = log.video_daily.filter(pl.col(columns.LOCAL_DATE) <= last_day)
    return replace(log.with_interactions(interactions), video_daily=daily)


def test_nothing_at_or_after_the_instant_has_a_part_in_the_lists(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model, features made with the future and without it: the same rows to the last bit."""
    database = {"database.url": SecretStr(f"sqlite:///{tmp_path / 'with.sqlite'}")}
    score_and_publish(home.changed(database), as_of=AS_OF, publish=True)
    short_lists = "lists.top_k = 6\nranker.filter_k = 12\n"
    past = make_feature_home(
        tmp_path / "past", _without_the_future(LOG), monkeypatch, more_settings=short_lists
    )
    past.paths.models.parent.mkdir(exist_ok=True)
    past.paths.models.symlink_to(home.paths.models, target_is_directory=True)
    score_and_publish(past, as_of=AS_OF, publish=True)
    with_future = shown_rows(home.changed(database))
    assert shown_rows(past) == with_future
    assert LATE not in {row[1] for row in with_future}


def test_an_instant_before_the_data_writes_nothing(settings: Settings) -> None:
    score_and_publish(settings)
    shown = shown_rows(settings)
    with pytest.raises(InputError, match="as-of 2019-01-01"):
        score_and_publish(settings, as_of=datetime(2019, 1, 1, tzinfo=UTC))
    assert shown_rows(settings) == shown


def test_what_is_missing_is_named_with_the_step_that_makes_it(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"interactions: missing.*nightreel ingest"):
        score_and_publish(load_settings())
    (tmp_path / "data").mkdir()
    for name in ("tables", "features"):
        (tmp_path / "data" / name).symlink_to(home.paths.data / name)
    with pytest.raises(InputError, match="nightreel train"):
        score_and_publish(load_settings())
    assert not (tmp_path / "data" / "nightreel.sqlite").exists()


def test_a_password_is_nowhere_in_what_the_step_says(settings: Settings) -> None:
    result = score_and_publish(settings)
    assert result.summary["database"] == result.wrote[0]
    assert "://" in result.summary["database"]


def test_show_gives_captions_categories_and_each_stages_score(settings: Settings) -> None:
    score_and_publish(settings)
    rows = user_list(settings, LATE, 4)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["score"] == rows[0]["regressor_score"]
    assert rows[0]["first_level_category_name"] == "名"
    captions = dict(LOG.video_captions.select(columns.VIDEO_ID, columns.CAPTION).iter_rows())
    assert [row["caption"] for row in rows] == [captions[row["video_id"]] for row in rows]
    assert user_list(settings, SEEN_ALL, 1)[0]["source"] == "rewatch"
    popular = user_list(settings, NEVER_PLAYED, 1)[0]
    assert popular["source"] == "popular" and popular["regressor_score"] is None


def test_show_of_a_user_without_a_list_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(InputError, match="nightreel score"):
        user_list(settings, LATE, 1)
    score_and_publish(settings, as_of=AS_OF, publish=True)
    with pytest.raises(InputError, match=f"User {LATE} has no list"):
        user_list(settings, LATE, 1)
