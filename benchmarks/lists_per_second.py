"""How many lists a second does `nightreel browse` give through its API, from a SQLite file on two cores?

One run of `--users` lists of 100 rows; random users are asked for over connections that are kept, as an app's
backend does. `table` is the reading alone, in one process, without HTTP; the others come through the API,
with one serving process and with two. The clients take part of the same processor, and other work on the
machine takes more: so the processor seconds of the serving processes are measured too, and from these the
lists that two cores of their own would give. `pages` are seconds of the pages that look through many lists.

    python -m benchmarks.lists_per_second
    python -m benchmarks.lists_per_second --users 100000 --requests 5000     # 10 million rows
"""

import argparse
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from nightreel.browse.list_reader import ListReader
from nightreel.core.settings import Settings
from scoring.database.schema import upgrade_database

RESULT = Path(__file__).parent / "results" / "lists_per_second.json"
K, VIDEOS, CONNECTIONS = 100, 10_728, 8
PAGES = ("/", "/?user={user}", "/users?after={user}", "/random", "/video?video=17", "/compare?run=2&other=1")


def make_home(folder: Path, users: int) -> Settings:
    """A home with two runs of `users` lists of K rows, the second shown."""
    settings = Settings.model_validate({"home": folder})
    upgrade_database(settings)
    draw = random.Random(7)
    at = "2020-08-15T02:00:00.000000+00:00"
    with closing(sqlite3.connect(settings.paths.sqlite)) as connection, connection:
        for run in (1, 2):
            connection.execute(
                "INSERT INTO recommendation_run (run_id, status, as_of, model_version, started_at, "
                "published_at, users, rows, k, inputs) VALUES (?, 'published', ?, 'm', ?, ?, ?, ?, ?, 'x')",
                (run, at, at, at, users, users * K, K),
            )
            rows = (
                (
                    run,
                    user,
                    rank,
                    (start + rank * step) % VIDEOS,
                    3.1 / rank,
                    0.9 / rank,
                    3.1 / rank,
                    1.2 / rank,
                )
                for user in range(users)
                for start, step in [(draw.randrange(VIDEOS), draw.choice((1, 5, 7, 11)))]
                for rank in range(1, K + 1)
            )
            connection.executemany(
                "INSERT INTO recommendation (run_id, user_id, rank, video_id, score, classifier_score, "
                "regressor_score, als_score, source, candidate_sources) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'hybrid', 'recent_2d,ease')",
                rows,
            )
        connection.execute("INSERT INTO published_run VALUES (1, 2)")
    return settings


def table(settings: Settings, users: int, requests: int) -> dict[str, float]:
    """Lists a second of one process that only reads them."""
    reader, draw = ListReader(settings), random.Random(1)
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(requests):
        reader.read(draw.randrange(users), None, K)
    return _rates(requests, time.perf_counter() - began, time.process_time() - processor, cores=1)


def served(settings: Settings, users: int, requests: int, workers: int) -> dict[str, Any]:
    """The same through the API, and seconds of the pages."""
    command = [sys.executable, "-m", "nightreel", "browse", "--port", "0", "--workers", str(workers)]
    environment = os.environ | {"NIGHTREEL_HOME": str(settings.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[0]
        try:
            for _ in range(4 * workers):
                urlopen(f"{address}/api/v1/lists/1", timeout=300).read()
            port = int(address.rsplit(":", 1)[1])
            before, began = _processor_s(server.pid), time.perf_counter()
            _ask(port, users, requests)
            seconds = time.perf_counter() - began
            found: dict[str, Any] = _rates(requests, seconds, _processor_s(server.pid) - before, cores=2)
            found["pages_s"] = {page: _page_s(address + page.format(user=users // 2)) for page in PAGES}
        finally:
            server.terminate()
    return found


def _ask(port: int, users: int, requests: int) -> None:
    """Ask over CONNECTIONS that are kept, one request under way on each."""
    draw = random.Random(2)
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for _ in range(requests // CONNECTIONS):
        for one in connections:
            one.sendall(
                f"GET /api/v1/lists/{draw.randrange(users)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            )
        for one in connections:
            _read_answer(one)
    for one in connections:
        one.close()


def _read_answer(connection: socket.socket) -> None:
    answer = connection.recv(65_536)
    head = answer.index(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    lower = answer[:head].lower()
    start = lower.index(b"content-length: ") + 16
    left = int(lower[start:].split(b"\r\n", 1)[0]) - (len(answer) - head - 4)
    while left > 0:
        left -= len(connection.recv(65_536))


def _processor_s(pid: int) -> float:
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return float(sum(one.user + one.system for one in times))


def _page_s(address: str) -> float:
    """Median seconds of three times."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        urlopen(address, timeout=120).read()
        times.append(time.perf_counter() - began)
    return round(sorted(times)[1], 3)


def _rates(requests: int, seconds: float, processor_s: float, *, cores: int) -> dict[str, float]:
    return {
        "lists_per_s": round(requests / seconds),
        "processor_ms_per_list": round(1000 * processor_s / requests, 3),
        f"lists_per_s_of_{cores}_free_cores": round(cores * requests / processor_s),
    }


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=7_176)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = make_home(Path(folder), arguments.users)
        results = {"table": table(settings, arguments.users, arguments.requests)}
        for workers in (1, 2):
            results[f"api_{workers}"] = served(settings, arguments.users, arguments.requests, workers)
    for name, found in results.items():
        print(name, json.dumps(found))
    facts = machine("uvicorn", "starlette", "sqlalchemy") | {"load_before": os.getloadavg()[0]}
    record = {
        "machine": facts,
        "users": arguments.users,
        "rows_a_run": arguments.users * K,
        "results": results,
    }
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
