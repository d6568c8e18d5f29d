"""How much memory does it take to know what lists have shown in vain to ten million users?

Reads rows as the table `list_repeat` has them, by the product's own code, and says the process's peak memory
beyond what it had before. Writes benchmarks/results/repeats_memory.json.

    python benchmarks/repeats_memory.py
    python benchmarks/repeats_memory.py --users 1_000_000 --videos 50
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.measured_process import machine
from nightreel.core.ids import INTEGERS
from scoring.database.repeats import repeats_of

RESULT = Path(__file__).parent / "results" / "repeats_memory.json"
CATALOGUE, ROWS_AT_A_TIME = 100_000, 10_000


def rows(users: int, videos: int) -> Iterator[list[tuple[int, str]]]:
    """So many users, each with so many videos; a thousand different lists."""
    random = np.random.default_rng(1)
    listed = [
        json.dumps([[int(one), int(random.integers(1, 9))] for one in random.choice(CATALOGUE, videos)])
        for _ in range(1_000)
    ]
    for first in range(0, users, ROWS_AT_A_TIME):
        last = min(first + ROWS_AT_A_TIME, users)
        yield [(user, listed[user % len(listed)]) for user in range(first, last)]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=10_000_000)
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.process_time()
    repeats = repeats_of(rows(arguments.users, arguments.videos), INTEGERS)
    arrays = (repeats.user_id, repeats.starts, repeats.video, repeats.nights, repeats.video_id)
    found = {
        "users": arguments.users,
        "videos_per_user": arguments.videos,
        "entries": len(repeats),
        "cpu_s": round(time.process_time() - started, 1),
        "array_bytes": sum(one.nbytes for one in arrays),
        "peak_bytes_beyond_start": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }
    print(json.dumps(found))
    written = json.loads(arguments.out.read_text())["results"] if arguments.out.is_file() else []
    others = [
        one
        for one in written
        if (one["users"], one["videos_per_user"]) != (arguments.users, arguments.videos)
    ]
    content = {"machine": machine("numpy"), "results": [*others, found]}
    arguments.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
