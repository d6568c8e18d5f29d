"""Scoring on a real Ray cluster: the local engine's table to the last bit, whatever dies on the way."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from asof_fixtures import ray_cluster
from feature_repo.open_store import store as open_store
from nightreel.core.errors import NightreelError
from nightreel.core.settings import Settings
from nightreel.core.settings.experiments import ArmSettings
from pipelines import model_registry
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.objective import NEXT_DAY, SHOWN, objective_of
from scoring.database import night_lists
from scoring.database.connection import reading, sql_engine
from scoring.database.list_rules import add_rule
from scoring.database.new_run import NewRun
from scoring.database.publish import score_and_publish
from scoring.database.runs import publish_written, require_unpublished
from scoring.database.schema import upgrade
from scoring.database.tables import recommendation_run
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates
from scoring.lists.eligibility import find_candidates
from scoring.lists.parts import work_of_shown
from scoring.lists.rows import Lists
from scoring.lists.rules.owner import BOOST, VIDEO, OwnerRule
from scoring.lists.score import score_users
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.published_home import shown_lists, shown_shared
from tests.fixtures.scored_home import (
    AS_OF,
    DAYS,
    FEW_TREES,
    SHARED,
    SHORT_LISTS,
    make_scored_home,
    start_scoring,
)
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight

# Of the log: all that was seen is in the file that the features keep.
END = midnight(FIRST_DAY + timedelta(days=DAYS))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_scored_home(tmp_path_factory.mktemp("on_ray") / "home", patch)


@pytest.fixture(name="settings")
def on_database(home: Settings, database_url: str | None, tmp_path: Path) -> Settings:
    url = database_url or f"sqlite:///{tmp_path / 'lists.sqlite'}"
    return home.changed({"database.url": SecretStr(url), "cluster.shared_dir": str(tmp_path / "shared")})


def _on_ray(settings: Settings) -> Settings:
    return settings.changed({"cluster.engine": "ray"})


def _statuses(settings: Settings) -> list[str]:
    with reading(settings) as connection:
        runs = select(recommendation_run.c.status).order_by(recommendation_run.c.run_id)
        return list(connection.execute(runs).scalars())


def _parts(settings: Settings) -> list[Path]:
    return sorted(Path(settings.cluster.shared_dir or "").glob("*/users-*.parquet"))


# Loaders write to PostgreSQL, each a process; SQLite has one writer.
# Of the end of the log the features keep what was seen, and actors read it; of earlier instants it is sent.
@pytest.mark.slow
@pytest.mark.parametrize("as_of", [None, AS_OF])
def test_the_table_is_that_of_the_local_engine_and_no_part_is_left(
    cluster: Any, settings: Settings, as_of: datetime | None
) -> None:
    settings = settings.changed(SHARED)
    local = score_and_publish(settings, as_of=as_of, publish=True).summary
    expected, shared = shown_lists(settings), shown_shared(settings)
    on_ray = score_and_publish(_on_ray(settings), as_of=as_of, publish=True, force=True).summary
    assert on_ray["run_id"] == local["run_id"] + 1
    assert shown_lists(settings) == expected
    assert shown_shared(settings) == shared
    for fact in ("users", "rows", "rows_by_source", "related_rows", "popular_rows"):
        assert on_ray[fact] == local[fact]
    assert _parts(settings) == []
    # What made the lists is no part of what they depend on.
    assert score_and_publish(_on_ray(settings), as_of=as_of, publish=True).skipped
    assert score_and_publish(settings, as_of=as_of, publish=True).skipped


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_union_searched_by_faiss_gives_the_local_engine_s_table_too(
    cluster: Any, settings: Settings
) -> None:
    union = settings.changed(
        {
            "retrieval.candidates": "als_approximate,popular,fresh,content_based",
            "lists.top_k": 4,
            "ranker.filter_k": 4,
        }
    )
    score_and_publish(union, as_of=AS_OF, publish=True)
    expected = shown_lists(settings)
    assert not score_and_publish(_on_ray(union), as_of=AS_OF, publish=True, force=True).skipped
    assert shown_lists(settings) == expected
    assert _parts(settings) == []
    assert score_and_publish(union, as_of=AS_OF, publish=True).skipped


# Where loaders may outlive it; what SQLite does when its one writer dies, test_kill.py knows.
@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_driver_killed_leaves_last_nights_list_and_the_next_run_goes_on(
    cluster: Any, settings: Settings
) -> None:
    score_and_publish(settings, as_of=AS_OF, publish=True)
    expected = shown_lists(settings)
    process = start_scoring(
        settings,
        NIGHTREEL_CLUSTER_SHARED_DIR=settings.cluster.shared_dir or "",
        NIGHTREEL_CLUSTER_ENGINE="ray",
        NIGHTREEL_CLUSTER_RAY_ADDRESS=cluster.address,
    )
    end = time.monotonic() + 400
    while not _parts(settings):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert _statuses(settings) == ["published", "running"]
    assert shown_lists(settings) == expected
    kept = {part: part.stat().st_mtime_ns for part in _parts(settings)}
    assert kept
    score_and_publish(
        _on_ray(settings).changed({"database.keep_runs": 5}), as_of=AS_OF, publish=True, force=True
    )
    assert _statuses(settings) == ["published", "failed", "published"]
    assert shown_lists(settings) == expected


class _Night:
    """A night of many users: those of the home, again and again under ids of their own."""

    def __init__(self, settings: Settings, times: int) -> None:
        store = open_store()
        model = model_registry.champion(settings.paths)
        ranker = HybridRanker.load(model.folder, threads=1)
        few = find_candidates(settings, store, END)
        assert few.seen.stored is not None
        ids = (few.user_id, few.video_id)
        joined = join_features(store, ranker.encoding, *ids, as_of=END, zone=settings.data.zone)
        rows = np.repeat(np.arange(len(few.user_id)), times)
        self.candidates: Candidates = replace(
            few, user_id=np.arange(len(rows)), has_history=few.has_history[rows], seen=few.seen.of_users(rows)
        )
        users = replace(joined.users, values=joined.users.values[rows])
        self.joined: JoinedFeatures = replace(joined, users=users, user_factors=joined.user_factors[rows])
        work = work_of_shown(self.candidates, self.joined, model.folder, settings)
        from scoring.database.on_ray import ListsOnRay  # Ray takes 2 s to import

        self.lists = ListsOnRay(work, _on_ray(settings), "night")
        self._local = score_users(self.candidates, self.joined, ranker, settings)

    def expected(self) -> Lists:
        return Lists.concatenate(self._local)


@pytest.mark.slow
def test_a_node_killed_while_it_scores_costs_no_list(
    cluster: Any, home: Settings, postgresql_url: str, tmp_path: Path
) -> None:
    """What its actors had read of what was seen, others read again."""
    settings = home.changed(
        {"database.url": SecretStr(postgresql_url), "cluster.shared_dir": str(tmp_path / "shared")}
    )
    night = _Night(settings, times=600)
    with ray_cluster.one_more_node(cluster) as node:

        def kill() -> None:
            ray_cluster.wait_until_busy(node)
            end = time.monotonic() + 60
            while not _parts(settings) and time.monotonic() < end:
                time.sleep(0.01)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        counts: Counter[str] = Counter()
        with exclusive_lock(sql_engine(settings)) as connection:
            with connection.begin():
                upgrade(connection)
            killer.start()
            run = NewRun(END, "model", "night")
            published = publish_written(
                connection,
                run,
                lambda run_id: counts.update(night.lists.write(connection, run_id)),
                night.candidates,
                settings,
            )
        killer.join()
        assert node not in cluster.worker_nodes
    assert sum(counts.values()) == published.rows
    expected = night.expected()
    assert published.rows == len(expected)
    columns = (getattr(expected, field.name).tolist() for field in fields(expected))
    # The database has NULL for what is unknown: NaN, and an empty text.
    wanted = [
        tuple(None if value != value or value == "" else value for value in row)
        for row in zip(*columns, strict=True)
    ]
    assert shown_lists(settings) == wanted


def test_a_run_that_has_ended_takes_no_rows_of_a_late_loader(settings: Settings) -> None:
    published = score_and_publish(settings, as_of=AS_OF, publish=True).summary["run_id"]
    with (
        sql_engine(settings).begin() as connection,
        pytest.raises(NightreelError, match=f"Run {published} is no longer being written"),
    ):
        require_unpublished(connection, published)


@pytest.fixture(scope="module")
def next_day_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    few = FEW_TREES + SHORT_LISTS + 'ranker.objective = "next_day"\nretrieval.source_k = 8\n'
    folder = tmp_path_factory.mktemp("next_day_on_ray") / "home"
    with pytest.MonkeyPatch.context() as patch:
        log = make_log(9, users=60, videos=80, plays=9_000)
        settings = make_feature_home(folder, log, patch, more_settings=few)
        train(settings)
        yield settings


@pytest.mark.slow
@pytest.mark.parametrize(("which", "objective"), [("home", SHOWN), ("next_day_home", NEXT_DAY)])
def test_lists_with_a_rule_and_an_arm_are_those_of_the_local_engine(
    cluster: Any, which: str, objective: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each arm is work of its own on the cluster; a rule moves rows of both."""
    arms = {"a": ArmSettings(share=0.5), "b": ArmSettings(share=0.5, settings={"lists.diversity": 0.5})}
    settings = request.getfixturevalue(which).changed(
        {
            "cluster.shared_dir": str(tmp_path / "shared"),
            "database.url": SecretStr(f"sqlite:///{tmp_path / 'lists.sqlite'}"),
            "experiments.arms": arms,
            "experiments.salt": "spring",
            "threads": 2,
        }
    )
    assert objective_of(model_registry.champion(settings.paths)) == objective
    score_and_publish(settings, publish=True)
    without = shown_lists(settings)
    add_rule(settings, OwnerRule(0, BOOST, VIDEO, str(without[3][2]), strength=50.0))
    score_and_publish(settings, publish=True)
    expected = shown_lists(settings)
    with pytest.MonkeyPatch.context() as patch:
        # So that nothing but the cluster can have made the lists.
        patch.setattr(night_lists, "lists_of_model", None)
        score_and_publish(_on_ray(settings), publish=True, force=True)
    assert shown_lists(settings) == expected != without
    texts = {one for row in expected for one in row if isinstance(one, str)}
    assert texts >= {"a", "b", "boost:1", "diversity"}
    assert _parts(settings) == []
