"""What does a night cost at 1 million, 100 million and 1 billion users? Arithmetic on measured rates only.

Each rate is what one core does in a second, or how many bytes a thing takes, and says where it was measured.
The table multiplies them with a service's size and divides by the window of the night. It knows nothing of
what a real cluster loses to its network, its stragglers and its restarts: take it for the order of magnitude.

    python benchmarks/cost_table.py                    # the table of docs/scale.md
    python benchmarks/cost_table.py --core-hour 0.05 --window-hours 4
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.pair_scoring import GRID, PAIRS, RESULTS
from benchmarks.point_in_time_join import KUAIREC_ROWS
from pipelines.user_sample import PLAYS_MAX

# Bytes.
PLAY_BYTES = 40
SIDE_BYTES_A_USER = 94 * 4 + 64 * 4
ROW_BYTES_IN_POSTGRESQL = 100
TOP_K, FILTER_K, CANDIDATE_K, KEPT_RUNS = 100, 500, 2_000, 7


@dataclass(frozen=True)
class Size:
    """A service. plays: in all of the log that is kept; new_plays: of a day."""

    name: str
    users: int
    videos: int
    plays: int
    new_plays: int


SIZES = (
    Size("KuaiRec", 7_176, 10_728, 12_530_806, 470_000),
    Size("1 M users", 10**6, 10**5, 2 * 10**9, 65 * 10**6),
    Size("100 M users", 10**8, 10**6, 2 * 10**11, 65 * 10**8),
    Size("1 G users", 10**9, 10**7, 2 * 10**12, 65 * 10**9),
)


@dataclass(frozen=True)
class Rates:
    """What was measured, a core and second unless said otherwise: rows, plays, or nanoseconds a thing.

    Attributes:
        union_found_s: by catalogue, the seconds until the candidates of a user are found, by the faster
            search.
    """

    ingested_rows: float
    feature_plays: float
    trained_plays: float
    joined_plays: float
    grid_ns: float
    pair_ns: float
    union_found_s: dict[int, float]
    trees: int
    copied_rows: float
    audited_rows: float

    @classmethod
    def measured(cls) -> "Rates":
        """From the result files of the other benchmarks. Raises StopIteration where a figure is missing."""
        steps = {
            row["step"]: row for row in _results("full_kuairec-1.json")["rows"] if row["run"] == "nightreel"
        }
        scoring = _results("pair_scoring.json")
        ways = {row["way"]: row["nanoseconds"] for row in scoring["rows"]}
        joined = next(
            row
            for row in _results("point_in_time_join.json")["results"]
            if (row["rows"], row["store"], row["to"]) == (KUAIREC_ROWS, "asof", "parquet")
        )
        published = next(
            row for row in _results("publish.json")["results"] if row["database"] == "postgresql"
        )
        return cls(
            steps["ingest"]["rows"] / steps["ingest"]["cpu_seconds"],
            KUAIREC_ROWS / steps["features"]["cpu_seconds"],
            steps["train"]["rows"] / steps["train"]["cpu_seconds"],
            # Its two cores were both at work.
            KUAIREC_ROWS / (2 * joined["seconds"]),
            ways[GRID],
            ways[PAIRS],
            _union_found_s(),
            scoring["trees"],
            published["write"]["rows_per_s"],
            published["audit"]["rows_per_s"],
        )


def _union_found_s() -> dict[int, float]:
    found: dict[int, float] = {}
    for row in _results("nearest_videos.json")["results"]:
        if row["way"].startswith("union"):
            seconds = row["ms"] / 1e3
            found[row["catalogue"]] = min(seconds, found.get(row["catalogue"], seconds))
    return found


def _found_s(videos: int, rates: Rates) -> float:
    """Of the smallest catalogue measured that is as large; past the largest it grows as faiss's lists do."""
    measured = rates.union_found_s
    largest = max(measured)
    if videos > largest:
        return measured[largest] * math.sqrt(videos / largest)
    return measured[min(catalogue for catalogue in measured if catalogue >= videos)]


def _results(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def core_seconds(size: Size, rates: Rates, *, union: bool) -> dict[str, float]:
    """Of each step of a night; of training, once a week, on the plays of some users where they are many."""
    if union:
        scored = min(CANDIDATE_K, size.videos)
        user_ns = scored * rates.pair_ns * rates.trees + _found_s(size.videos, rates) * 1e9
    else:
        user_ns = size.videos * rates.grid_ns * rates.trees
    # The regressor, of about as many trees, sees what the filter keeps.
    user_ns += FILTER_K * rates.pair_ns * rates.trees
    listed = size.users * TOP_K
    trained = min(size.plays, PLAYS_MAX)
    return {
        "ingest": size.new_plays / rates.ingested_rows,
        "features": size.new_plays / rates.feature_plays,
        "score": size.users * user_ns / 1e9,
        "load": listed / rates.copied_rows,
        "audit": listed / rates.audited_rows,
        "join and train, weekly": trained / rates.joined_plays + trained / rates.trained_plays,
    }


def gigabytes(size: Size) -> dict[str, float]:
    """What is stored where, and what it grows with."""
    return {
        "log": size.plays * PLAY_BYTES / 1e9,
        "seen bits": size.users * size.videos / 8 / 1e9,
        "user side": size.users * SIDE_BYTES_A_USER / 1e9,
        "published runs": size.users * TOP_K * ROW_BYTES_IN_POSTGRESQL * KEPT_RUNS / 1e9,
    }


def table(rates: Rates, core_hour: float, window_hours: float) -> str:
    """Markdown: a column a size."""
    lines = ["| | " + " | ".join(size.name for size in SIZES) + " |", "|---|" + "---|" * len(SIZES)]

    def add(what: str, cells: list[str]) -> None:
        lines.append(f"| {what} | " + " | ".join(cells) + " |")

    add("users, videos", [f"{size.users:,}, {size.videos:,}" for size in SIZES])
    add("plays kept, a day", [f"{size.plays:,}, {size.new_plays:,}" for size in SIZES])
    for step in core_seconds(SIZES[0], rates, union=True):
        if step == "score":
            for union, said in ((False, '`candidates = "all"`'), (True, f"union of {CANDIDATE_K:,}")):
                scoring = [core_seconds(size, rates, union=union)["score"] for size in SIZES]
                add(f"score, {said}", [_hours(seconds) for seconds in scoring])
        else:
            add(step, [_hours(core_seconds(size, rates, union=True)[step]) for size in SIZES])
    nights = [core_seconds(size, rates, union=True) for size in SIZES]
    nightly = [sum(s for step, s in night.items() if "weekly" not in step) for night in nights]
    add("a night, union", [_hours(seconds) for seconds in nightly])
    add(
        f"cores for {window_hours:g} hours",
        [f"{math.ceil(seconds / 3600 / window_hours):,}" for seconds in nightly],
    )
    add(f"cost of a night at {core_hour:g} per core-hour", [f"{s / 3600 * core_hour:,.2f}" for s in nightly])
    for what in gigabytes(SIZES[0]):
        add(f"{what}, GB", [f"{gigabytes(size)[what]:,.1f}" for size in SIZES])
    return "\n".join(lines)


def _hours(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:,.0f} h"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--core-hour", type=float, default=0.04, help="price of a core for an hour")
    parser.add_argument("--window-hours", type=float, default=4.0, help="how long a night may take")
    arguments = parser.parse_args()
    rates = Rates.measured()
    print(rates)
    print(table(rates, arguments.core_hour, arguments.window_hours))


if __name__ == "__main__":
    main()
