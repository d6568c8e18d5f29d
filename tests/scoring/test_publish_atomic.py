"""Readers see one complete list, last night's or tonight's, whatever the run meets."""

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from nightreel.core.errors import AuditError, NightreelError
from nightreel.core.settings import Settings
from scoring.database.connection import reading, sql_engine
from scoring.database.new_run import NewRun, Published
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.tables import recommendation, recommendation_run
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates
from scoring.lists.rows import Lists
from scoring.lists.seen_bits import SeenBits
from tests.fixtures.lists import make_blocks, make_candidates
from tests.fixtures.published_home import shown_rows

pytestmark = pytest.mark.current_schema

NIGHT = datetime(2020, 8, 15, 2, tzinfo=UTC)


def publish_lists(
    settings: Settings, candidates: Candidates, blocks: Iterable[Lists], night: datetime = NIGHT
) -> Published:
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
        run = NewRun(night, "20200814-abc", "digest")
        # Small batches, so that rows are committed long before the run is published.
        return publish(connection, run, blocks, candidates, settings, batch_rows=50)


def runs(settings: Settings) -> list[tuple[int, str]]:
    with reading(settings) as connection:
        query = select(recommendation_run.c.run_id, recommendation_run.c.status)
        return [(row[0], row[1]) for row in connection.execute(query.order_by(recommendation_run.c.run_id))]


def stored_rows(settings: Settings) -> dict[int, int]:
    with reading(settings) as connection:
        query = select(recommendation.c.run_id, func.count()).group_by(recommendation.c.run_id)
        return {row[0]: row[1] for row in connection.execute(query)}


def expected_rows(run_id: int, blocks: Iterable[Lists]) -> list[tuple[object, ...]]:
    rows = []
    for lists in blocks:
        columns = [
            [None if value != value or value == "" else value for value in column.tolist()]
            for column in vars(lists).values()
        ]
        rows += [(run_id, *row) for row in zip(*columns, strict=True)]
    return sorted(rows)


@pytest.mark.parametrize("users_a_block", [1, 7, 1000])
def test_what_is_published_is_what_was_scored(settings: Settings, users_a_block: int) -> None:
    candidates = make_candidates(1)
    blocks = list(make_blocks(candidates, 1, k=10, users_a_block=users_a_block))
    published = publish_lists(settings, candidates, blocks)
    assert published == Published(1, len(candidates.user_id), sum(map(len, blocks)))
    assert shown_rows(settings) == expected_rows(1, blocks)


def test_one_users_list_in_plain_sql_is_found_by_the_primary_key(settings: Settings) -> None:
    candidates = make_candidates(2)
    publish_lists(settings, candidates, make_blocks(candidates, 2, k=10))
    user = int(candidates.user_id[3])
    query = f"SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = {user} ORDER BY rank"
    explain = "EXPLAIN QUERY PLAN" if settings.database.url is None else "EXPLAIN"
    with reading(settings) as connection:
        if settings.database.url is not None:
            connection.exec_driver_sql("SET enable_seqscan = off")  # the table is too small to matter else
        assert [row.rank for row in connection.exec_driver_sql(query)] == list(range(1, 11))
        plan = " ".join(str(row[-1]) for row in connection.exec_driver_sql(f"{explain} {query}"))
    assert "PRIMARY KEY (run_id=? AND user_id=?)" in plan or "recommendation_pkey" in plan
    assert "SORT" not in plan.upper() and "TEMP B-TREE" not in plan.upper()


def test_a_second_run_replaces_the_first_whole(settings: Settings) -> None:
    candidates = make_candidates(3)
    publish_lists(settings, candidates, make_blocks(candidates, 3, k=10))
    publish_lists(settings, candidates, make_blocks(candidates, 4, k=10), NIGHT + timedelta(days=1))
    assert shown_rows(settings) == expected_rows(2, make_blocks(candidates, 4, k=10))
    assert runs(settings) == [(1, "published"), (2, "published")]


def test_while_a_run_is_written_readers_see_the_old_list(settings: Settings) -> None:
    candidates = make_candidates(5)
    publish_lists(settings, candidates, make_blocks(candidates, 5, k=10))
    before = shown_rows(settings)

    def watched() -> Iterator[Lists]:
        for block in make_blocks(candidates, 6, k=10):
            yield block
            assert shown_rows(settings) == before
        assert stored_rows(settings)[2] > 100

    publish_lists(settings, candidates, watched(), NIGHT + timedelta(days=1))
    assert shown_rows(settings) == expected_rows(2, make_blocks(candidates, 6, k=10))


def test_a_readers_transaction_holds_up_a_publish_only_for_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite, which is not in WAL mode between two publishes."""
    settings = Settings.model_validate({"home": tmp_path, "lists.top_k": 10})
    candidates = make_candidates(5)
    publish_lists(settings, candidates, make_blocks(candidates, 5, k=10))
    before = shown_rows(settings)
    monkeypatch.setattr("scoring.database.sqlite_journal._READERS_WAIT_S", 0.3)
    app = sqlite3.connect(settings.paths.sqlite, isolation_level=None)
    app.execute("BEGIN")
    assert app.execute("SELECT count(*) FROM latest_recommendation").fetchone()[0] == len(before)
    with pytest.raises(NightreelError, match=r"a reader has kept a transaction open .*fuser"):
        publish_lists(settings, candidates, make_blocks(candidates, 6, k=10), NIGHT + timedelta(days=1))
    assert shown_rows(settings) == before
    app.execute("COMMIT")

    def read_meanwhile() -> Iterator[Lists]:
        # From now on a transaction of the app's stops nothing.
        app.execute("BEGIN")
        assert app.execute("SELECT count(*) FROM latest_recommendation").fetchone()[0] == len(before)
        yield from make_blocks(candidates, 6, k=10)

    publish_lists(settings, candidates, read_meanwhile(), NIGHT + timedelta(days=1))
    assert shown_rows(settings) != before
    app.close()


def test_scoring_that_fails_half_way_leaves_the_old_list_and_no_rows(settings: Settings) -> None:
    candidates = make_candidates(7)
    publish_lists(settings, candidates, make_blocks(candidates, 7, k=10))
    before = shown_rows(settings)

    def failing() -> Iterator[Lists]:
        yield from make_blocks(candidates, 8, k=10)
        raise NightreelError("The disk is on fire.", "Put it out.")

    with pytest.raises(NightreelError, match="on fire"):
        publish_lists(settings, candidates, failing(), NIGHT + timedelta(days=1))
    assert shown_rows(settings) == before
    assert runs(settings) == [(1, "published"), (2, "failed")]
    assert set(stored_rows(settings)) == {1}
    with reading(settings) as connection:
        error = connection.execute(select(recommendation_run.c.error).where(recommendation_run.c.run_id == 2))
        assert error.scalar() == "The disk is on fire. Put it out."


def test_a_failed_audit_leaves_the_old_list_and_says_why(settings: Settings) -> None:
    candidates = make_candidates(9)
    publish_lists(settings, candidates, make_blocks(candidates, 9, k=10))
    before = shown_rows(settings)
    lacking = list(make_blocks(candidates, 10, k=10))[:-1]
    with pytest.raises(AuditError, match="every eligible user") as failure:
        publish_lists(settings, candidates, lacking, NIGHT + timedelta(days=1))
    assert failure.value.exit_code == 1
    assert shown_rows(settings) == before
    assert runs(settings) == [(1, "published"), (2, "failed")]
    assert set(stored_rows(settings)) == {1}


def test_a_first_run_that_fails_shows_nothing(settings: Settings) -> None:
    candidates = make_candidates(11)
    with pytest.raises(AuditError):
        publish_lists(settings, candidates, list(make_blocks(candidates, 11, k=10))[1:])
    assert shown_rows(settings) == []


def test_old_runs_are_pruned_and_run_ids_go_on(settings: Settings) -> None:
    settings = settings.changed({"database.keep_runs": 2})
    candidates = make_candidates(12)
    for night in range(4):
        publish_lists(
            settings, candidates, make_blocks(candidates, night, k=10), NIGHT + timedelta(days=night)
        )
    assert runs(settings) == [(3, "published"), (4, "published")]
    assert set(stored_rows(settings)) == {3, 4}


def test_failed_runs_older_than_all_kept_ones_are_pruned(settings: Settings) -> None:
    settings = settings.changed({"database.keep_runs": 1})
    candidates = make_candidates(13)
    with pytest.raises(AuditError):
        publish_lists(settings, candidates, [])
    publish_lists(settings, candidates, make_blocks(candidates, 13, k=10))
    assert runs(settings) == [(2, "published")]


def test_what_a_killed_run_left_is_removed_by_the_next(settings: Settings) -> None:
    candidates = make_candidates(14)
    publish_lists(settings, candidates, make_blocks(candidates, 14, k=10))
    with sql_engine(settings).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, k, inputs) "
            "SELECT 2, 'running', as_of, model_version, started_at, k, inputs FROM recommendation_run"
        )
        connection.exec_driver_sql(
            "INSERT INTO recommendation (run_id, user_id, rank, video_id, score, source) "
            "SELECT 2, user_id, rank, video_id, score, source FROM recommendation WHERE rank < 4"
        )
    publish_lists(settings, candidates, make_blocks(candidates, 15, k=10), NIGHT + timedelta(days=1))
    assert runs(settings) == [(1, "published"), (2, "failed"), (3, "published")]
    assert set(stored_rows(settings)) == {1, 3}


def test_a_run_that_another_process_ended_is_not_shown(settings: Settings) -> None:
    """The fence: a process that has lost its lock unnoticed cannot publish."""
    candidates = make_candidates(16)
    publish_lists(settings, candidates, make_blocks(candidates, 16, k=10))
    before = shown_rows(settings)

    def usurped() -> Iterator[Lists]:
        yield from make_blocks(candidates, 17, k=10)
        with sql_engine(settings).begin() as connection:
            connection.exec_driver_sql("UPDATE recommendation_run SET status = 'failed' WHERE run_id = 2")

    with pytest.raises(NightreelError, match="another process"):
        publish_lists(settings, candidates, usurped(), NIGHT + timedelta(days=1))
    assert shown_rows(settings) == before


def test_extreme_ids_and_scores_come_back_as_they_went_in(settings: Settings) -> None:
    candidates = Candidates(
        user_id=np.array([-(2**63), 0, 2**63 - 1]),
        has_history=np.ones(3, dtype=bool),
        video_id=np.array([-(2**63), -1, 2**63 - 1]),
        seen=SeenBits.none(3, 3),
    )
    score = np.array([1.7976931348623157e308, 5e-324, -0.1] * 3)
    lists = Lists(
        np.repeat(candidates.user_id, 3),
        np.tile(np.arange(1, 4, dtype=np.int32), 3),
        np.tile(candidates.video_id, 3),
        score,
        np.where(np.arange(9) % 2, np.nan, 0.1 + 0.2),
        np.where(np.arange(9) % 4, np.nan, -0.0),
        np.where(np.arange(9) % 3, np.nan, 1e-300),
        np.array(["hybrid", "popular", "rewatch"] * 3),
        np.array(["als", "", "", "ease_played,same_category", "", "", "", "", ""]),
    )
    publish_lists(settings, candidates, [lists])
    assert shown_rows(settings) == expected_rows(1, [lists])
