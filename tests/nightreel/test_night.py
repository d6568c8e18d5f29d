"""The nightly job: dropped files to published lists, recorded, one at a time, in its own process."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event

import polars as pl
import pytest
from sqlalchemy import select

from nightreel.core.errors import BusyError, NightreelError
from nightreel.core.settings import Settings
from nightreel.core.steps import Facts, StepResult
from nightreel.operations.jobs import NIGHT, Job
from nightreel.operations.night import night_stages, retrain_stages, run_job
from nightreel.operations.stages import Stage
from nightreel.operations.status import FRESH, status
from scoring.database.connection import reading, sql_engine
from scoring.database.history import list_runs
from scoring.database.tables import job_run
from scoring.database.writer import exclusive_lock, sole_job
from tests.fixtures.fork_server import Forked, forks
from tests.fixtures.synthetic_home import make_synthetic_home

JOB = Job(NIGHT, datetime(2020, 8, 14, 18, tzinfo=UTC))
SETTINGS = (
    "schedule.max_data_age_hours = 0\nranker.lightgbm.num_iterations = 10\nevaluation.backtest_days = 1\n"
    "features.als.factors = 4\nthreads = 1\n"
    "lists.top_k = 5\nranker.filter_k = 20\n"
    'ranker.objective = "next_day"\nretrieval.sources = "als,recent_2d"\n'
)


class _Facts(Facts):
    rows: int | None = None
    run_id: int | None = None

    @property
    def rows_written(self) -> int | None:
        return self.rows

    @property
    def lists_run(self) -> int | None:
        return self.run_id


def _step(name: str, work: Callable[[], object] = lambda: None, **facts: object) -> Stage:
    def do() -> StepResult[Facts]:
        work()
        return StepResult(name, False, (), (), _Facts.model_validate(facts))

    return Stage(name, do)


def _record(settings: Settings) -> dict[str, object]:
    with reading(settings) as connection:
        return dict(connection.execute(select(job_run)).one()._asdict())


def test_what_the_stages_did_is_recorded(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    stages = [_step("ingest", rows=7, remarks=["a file was set aside"]), _step("score", rows=3, run_id=12)]
    run_job(settings, JOB, stages)
    found = _record(settings)
    assert (found["status"], found["attempts"], found["run_id"]) == ("done", 1, 12)
    assert found["remarks"] == "a file was set aside"
    said = json.loads(str(found["stages"]))
    assert [(name, said[name].get("rows")) for name in ("ingest", "score")] == [("ingest", 7), ("score", 3)]
    assert all(facts["seconds"] >= 0 for facts in said.values())


def test_a_stage_that_fails_ends_the_job_and_the_record_says_why(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    def fail() -> None:
        raise NightreelError("The raw files are gone.")

    with pytest.raises(NightreelError, match="gone"):
        run_job(settings, JOB, [_step("ingest", fail), _step("score", lambda: pytest.fail("it went on"))])
    found = _record(settings)
    assert (found["status"], found["error"]) == ("failed", "The raw files are gone.")
    assert json.loads(str(found["stages"]))["ingest"]["failed"]
    with pytest.raises(ZeroDivisionError):
        run_job(settings, JOB, [_step("score", lambda: 1 / 0)])
    assert "ZeroDivisionError" in str(_record(settings)["error"])


def test_a_stage_runs_beside_the_next_and_no_later_one(tmp_path: Path) -> None:
    """Each of the two waits until the other has begun; the record has them in the order of the stages."""
    settings, both, over = Settings(home=tmp_path), Barrier(2, timeout=30), Event()

    def beside() -> None:
        both.wait()
        over.set()

    def after() -> None:
        assert over.is_set()

    stages = [
        replace(_step("materialize", beside, rows=1), beside_next=True),
        _step("score", both.wait, rows=2, run_id=4),
        _step("report", after),
    ]
    run_job(settings, JOB, stages)
    found = _record(settings)
    assert (found["status"], found["run_id"]) == ("done", 4)
    assert [*json.loads(str(found["stages"]))][1:] == ["materialize", "score", "report"]


def test_what_fails_beside_another_stage_is_a_remark_only_if_it_is_optional(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    def fail() -> None:
        raise NightreelError("The store is away.")

    beside = replace(_step("materialize", fail), beside_next=True)
    run_job(settings, JOB, [replace(beside, optional=True), _step("score", run_id=3)])
    found = _record(settings)
    assert (found["status"], found["run_id"]) == ("done", 3)
    assert found["remarks"] == "materialize: The store is away."
    with pytest.raises(NightreelError, match="away"):
        run_job(settings, JOB, [beside, _step("score"), _step("report", lambda: pytest.fail("it went on"))])


def test_a_second_job_at_once_is_told_who_is_first(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    settings.paths.sqlite.parent.mkdir()
    busy = pytest.raises(BusyError, match="is running a job on this database")
    with sole_job(sql_engine(settings)), busy:
        run_job(settings, JOB, [_step("score", lambda: pytest.fail("two jobs"))])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Forty users' raw files, and settings for quick models."""
    return make_synthetic_home(tmp_path, monkeypatch, SETTINGS, users=40, videos=80, plays=4_000, days=14)


def _do(settings: Settings, stages: list[Stage]) -> None:
    for stage in stages:
        stage.work()


def test_dropped_files_come_out_as_published_lists(home: Settings, nightreel: Callable[..., object]) -> None:
    """A night and a training in this process, then a night by the real command, with a bad file."""
    *before, drift, score = night_stages(home)
    _do(home, [*before, *retrain_stages(home), drift, score])
    first = list_runs(home)[0]
    _drop_a_day(home)
    (home.data.raw_dir / "incoming" / "junk.csv").write_text("x\n", encoding="utf-8")
    done = nightreel("schedule", "--once", home=home.home)
    assert done.returncode == 0, done.stderr  # type: ignore[attr-defined]
    lines = [json.loads(line) for line in done.stderr.splitlines()]  # type: ignore[attr-defined]
    seconds = {line["stage"]: line["seconds"] for line in lines if line["event"] == "stage"}
    stages = {
        "begin",
        "deliveries",
        "ingest",
        "outcomes",
        "features",
        "feast apply",
        "materialize",
        "score",
        "drift",
        "record",
    }
    assert set(seconds) == stages
    second = list_runs(home)[0]
    assert second["run_id"] == 2 and second["as_of"] == first["as_of"] + timedelta(days=1)
    assert second["users"] == first["users"] + 1
    with reading(home) as connection:
        last = connection.execute(select(job_run).order_by(job_run.c.due_at.desc())).first()
    assert last is not None and last.status == "done" and last.run_id == 2
    assert "junk.csv was quarantined" in last.remarks
    assert status(home, datetime.now(UTC)).state == FRESH


def _drop_a_day(home: Settings) -> None:
    """Plays of the day after the last, one of them by a new user."""
    raw = pl.read_csv(home.data.raw_dir / "big_matrix.csv", infer_schema=False)
    later = raw.tail(200).with_columns(
        (pl.col("timestamp").cast(pl.Float64).max() + 86_400 + pl.int_range(200))
        .cast(pl.String)
        .alias("timestamp"),
        pl.lit(None, dtype=pl.String).alias("time"),
    )
    new = later.tail(1).with_columns(pl.lit("987654").alias("user_id"))
    (home.data.raw_dir / "incoming").mkdir()
    pl.concat([later, new]).write_csv(home.data.raw_dir / "incoming" / "big_matrix_next.csv")


_WAITING = """
import time
import nightreel.operations.night
from nightreel.operations.stages import Stage
def wait():
    print("waits", flush=True)
    time.sleep(600)
nightreel.operations.night.night_stages = lambda settings: [Stage("wait", wait)]
nightreel.operations.night.STOP_WITHIN_S = 1.5
nightreel.operations.night.main()
"""


@pytest.fixture
def waiting(tmp_path: Path) -> Callable[..., Forked]:
    """Start a real job that waits for ever."""

    def start(**environment: str) -> Forked:
        process = forks.start(
            ["-c", _WAITING, NIGHT, JOB.due_at.isoformat()],
            env={**os.environ, "NIGHTREEL_HOME": str(tmp_path), **environment},
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None and process.stdout.readline() == "waits\n"
        return process

    return start


def test_a_job_that_is_told_to_stop_ends_at_once_and_is_not_done(
    waiting: Callable[..., Forked], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    process = waiting()
    with pytest.raises(BusyError, match=f"process {process.pid}"), sole_job(sql_engine(settings)):
        pytest.fail("two jobs")
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert _record(settings)["status"] == "running"
    with sole_job(sql_engine(settings)):
        pass


def test_a_job_that_nobody_watches_any_more_ends_by_itself(
    waiting: Callable[..., Forked],
) -> None:
    process = waiting(NIGHTREEL_SCHEDULE_JOB_LIMIT_MINUTES="0.01")
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGALRM


def test_a_job_begins_while_another_process_publishes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    run_job(settings, JOB, [])
    with exclusive_lock(sql_engine(settings)):
        run_job(settings, Job(NIGHT, JOB.due_at + timedelta(days=1)), [_step("ingest")])


_FETCHING = """
import nightreel.operations.night as night
night.fetch = lambda settings: (settings.home / "nightreel.toml").write_text("lists.top_k = 7\\n")
night.night_stages = lambda settings: print(settings.lists.top_k) or []
night.main()
"""


def test_a_job_has_the_settings_of_the_home_that_it_fetched(tmp_path: Path) -> None:
    process = forks.start(
        ["-c", _FETCHING, NIGHT, JOB.due_at.isoformat()],
        env={**os.environ, "NIGHTREEL_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
    )
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.splitlines()[0] == "7"
