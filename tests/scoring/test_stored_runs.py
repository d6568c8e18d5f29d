"""Stored replays beside published runs: pruned by their own limit, exported, and no measure for a night."""

import json
import os
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from nightreel.core.errors import AuditError, InputError
from nightreel.core.settings import Settings
from scoring.database.compare import compare
from scoring.database.connection import reading, sql_engine
from scoring.database.new_run import NewRun, Published
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.writer import exclusive_lock
from scoring.exporting import export
from tests.conftest import Nightreel
from tests.fixtures.fork_server import forks
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows
from tests.scoring.test_publish_atomic import NIGHT, publish_lists, runs, stored_rows

pytestmark = [pytest.mark.one_database, pytest.mark.current_schema]

CANDIDATES = make_candidates(21)


def _store(settings: Settings, seed: int, *, users: int = 40) -> Published:
    """A replay of an earlier night than NIGHT, stored."""
    candidates = make_candidates(21, users=users)
    run = NewRun(NIGHT - timedelta(days=7), "model", f"replay {seed}", replay=True, show=False)
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
        return publish(connection, run, make_blocks(candidates, seed, k=10), candidates, settings)


def _publish(settings: Settings, night: int) -> Published:
    return publish_lists(
        settings, CANDIDATES, make_blocks(CANDIDATES, night, k=10), NIGHT + timedelta(days=night)
    )


def test_replays_and_nights_are_pruned_each_by_their_own_limit(settings: Settings) -> None:
    settings = settings.changed({"database.keep_runs": 2})
    _store(settings, 1)
    for night in range(3):
        _publish(settings, night)
    assert runs(settings) == [(1, "stored"), (3, "published"), (4, "published")]
    with pytest.raises(AuditError):
        publish_lists(settings, CANDIDATES, [], NIGHT + timedelta(days=4))
    _store(settings, 2)
    assert runs(settings) == [(1, "stored"), (3, "published"), (4, "published"), (5, "failed"), (6, "stored")]
    assert set(stored_rows(settings)) == {1, 3, 4, 6}
    _publish(settings, 5)
    _store(settings, 3)
    assert runs(settings)[:4] == [(4, "published"), (5, "failed"), (6, "stored"), (7, "published")]
    assert runs(settings)[4:] == [(8, "stored")]
    assert {row[0] for row in shown_rows(settings)} == {7}


_KILLED = """
import os, sys
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.runs import NewRun, publish
from scoring.database.writer import exclusive_lock
from tests.fixtures.lists import make_blocks, make_candidates
from tests.scoring.test_publish_atomic import NIGHT
settings = Settings.model_validate({"home": sys.argv[1], "lists": {"top_k": 10}})
candidates = make_candidates(21)
def blocks():
    yield from make_blocks(candidates, 2, k=10)
    os.kill(os.getpid(), 9)
run = NewRun(NIGHT, "model", "replay", replay=True, show=False)
with exclusive_lock(sql_engine(settings)) as connection:
    publish(connection, run, blocks(), candidates, settings, batch_rows=50)
"""


def test_a_replay_that_is_killed_is_removed_and_nothing_else(settings: Settings) -> None:
    _publish(settings, 1)
    _store(settings, 2)
    environment = {**os.environ, "NIGHTREEL_DATABASE_URL": settings.sqlalchemy_url}
    killed = forks.run(["-c", _KILLED, str(settings.home)], env=environment)
    assert killed.returncode == -9
    assert runs(settings)[-1] == (3, "running") and {row[0] for row in shown_rows(settings)} == {1}
    with pytest.raises(InputError, match="not complete"):
        export(settings, settings.home / "lists.csv", 3)
    _store(settings, 4)
    assert runs(settings) == [(1, "published"), (2, "stored"), (3, "failed"), (4, "stored")]
    assert set(stored_rows(settings)) == {1, 2, 4}
    assert {row[0] for row in shown_rows(settings)} == {1}


def test_replays_alone_are_pruned_too(settings: Settings) -> None:
    settings = settings.changed({"database.keep_runs": 2})
    for seed in range(4):
        _store(settings, seed)
    assert runs(settings) == [(3, "stored"), (4, "stored")] and shown_rows(settings) == []


def test_a_replay_is_no_measure_for_the_next_night(settings: Settings) -> None:
    """Neither a stored nor a published one of few users lets a night of few users through, or bars one."""
    _publish(settings, 1)
    _store(settings, 2, users=4)
    few = make_candidates(21, users=10)
    replay = NewRun(NIGHT - timedelta(days=7), "model", "replay", replay=True)
    with exclusive_lock(sql_engine(settings)) as connection:
        publish(connection, replay, make_blocks(few, 3, k=10), few, settings)
    assert {row[0] for row in shown_rows(settings)} == {3}
    with pytest.raises(AuditError, match="users in line with the last run"):
        publish_lists(settings, few, make_blocks(few, 4, k=10), NIGHT + timedelta(days=2))
    all_changed = settings.changed({"database.audits.max_changed_lists": 0.0})
    publish_lists(all_changed, CANDIDATES, make_blocks(CANDIDATES, 1, k=10), NIGHT + timedelta(days=2))
    assert {row[0] for row in shown_rows(settings)} == {5}


def _as_mapping(settings: Settings, run_id: int) -> dict[int, dict[int, int]]:
    """The videos of each user's list by rank."""
    lists: dict[int, dict[int, int]] = {}
    with reading(settings) as connection:
        query = f"SELECT user_id, rank, video_id FROM recommendation WHERE run_id = {run_id}"
        for user, rank, video in connection.exec_driver_sql(query):
            lists.setdefault(user, {})[rank] = video
    return lists


def _rbo(one: dict[int, int], other: dict[int, int], p: float = 0.9) -> float:
    """Webber's extrapolated form, depth by depth; lists as videos by rank."""
    k = min(len(one), len(other))
    shared = [
        len({one[n] for n in range(1, d + 1)} & {other[n] for n in range(1, d + 1)}) for d in range(1, k + 1)
    ]
    return shared[-1] / k * p**k + (1 - p) / p * sum(x / d * p**d for d, x in enumerate(shared, 1))


def test_two_runs_are_compared_over_all_users(settings: Settings, nightreel: Nightreel) -> None:
    _publish(settings, 1)
    _store(settings, 2, users=30)
    first, second = (_as_mapping(settings, run) for run in (1, 2))
    both = first.keys() & second.keys()
    kept = [len({*second[user].values()} & {*first[user].values()}) / len(second[user]) for user in both]
    before, now = ({video for user in both for video in one[user].values()} for one in (first, second))
    found = compare(settings, 2, None)
    assert found == {
        "run_id": 2,
        "other_run_id": 1,
        "users_of_both": len(both),
        "users_of_this_alone": len(second.keys() - both),
        "users_of_the_other_alone": len(first.keys() - both),
        "equal_lists": sum(first[user] == second[user] for user in both),
        "equal_first_videos": sum(first[user][1] == second[user][1] for user in both),
        "share_of_videos_in_both": pytest.approx(sum(kept) / len(kept)),
        "rank_biased_overlap": pytest.approx(sum(_rbo(first[u], second[u]) for u in both) / len(both)),
        "videos_of_both": len(now & before),
        "videos_entered": len(now - before),
        "videos_left": len(before - now),
    }
    itself = compare(settings, 2, 2)
    assert itself["rank_biased_overlap"] == pytest.approx(1)
    assert itself["equal_lists"] == itself["users_of_both"] == len(second)
    with pytest.raises(InputError, match="no such run"):
        compare(settings, 2, 7)
    url = {"NIGHTREEL_DATABASE_URL": settings.sqlalchemy_url}
    done = nightreel("compare", "2", "1", "--json", home=settings.home, **url)
    assert json.loads(done.stdout)["users_of_both"] == len(both)


@pytest.mark.parametrize("name", ["lists.csv", "lists.Parquet"])
def test_a_runs_lists_are_exported_whole(settings: Settings, tmp_path: Path, name: str) -> None:
    _publish(settings, 1)
    _store(settings, 2)
    read = pl.read_csv if name.endswith("csv") else pl.read_parquet
    for run_id, of_run in ((2, "run_id = 2"), (None, "run_id = 1")):
        export(settings, tmp_path / name, run_id)
        with reading(settings) as connection:
            query = f"SELECT * FROM recommendation WHERE {of_run} ORDER BY user_id, rank"
            expected = [tuple(row) for row in connection.exec_driver_sql(query)]
        assert read(tmp_path / name).rows() == expected
    before = (tmp_path / name).read_bytes()
    for wrong, run in ((name, 9), ("lists.txt", 1), ("none/lists.csv", 1)):
        with pytest.raises(InputError):
            export(settings, tmp_path / wrong, run)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.glob("lists*")] == [name]
