"""What does a night cost at 1 million, 100 million and 1 billion users? Arithmetic on measured rates only.

Each rate is what one core does in a second, or how many bytes a thing takes, and says where it was measured.
The table multiplies them with a service's size and divides by the window of the night. It knows nothing of
what a real cluster loses to its network, its stragglers and its restarts: take it for the order of magnitude.

    python benchmarks/cost_table.py                    # the table of docs/scale.md
    python benchmarks/cost_table.py --core-hour 0.05 --window-hours 4
"""

import argparse
import math
from dataclasses import dataclass

# Of one core. benchmarks/results/full_kuairec-1.json: CPU seconds of a step over its rows.
INGEST_ROWS_PER_S = 16_613_894 / 22.9
FEATURE_PLAYS_PER_S = 12_530_806 / 41.3
TRAIN_PLAYS_PER_S = 11_564_879 / 284.9
# benchmarks/results/point_in_time_join.json: KuaiRec's plays to parquet, seconds of two cores.
JOINED_ROWS_PER_S = 12_530_806 / (2 * 33.1)
# CPU seconds of 200 users of a full-size home: every pair in a grid, single pairs, and finding those.
NS_A_GRID_PAIR_AND_TREE, NS_A_PAIR_AND_TREE, RETRIEVAL_NS_A_VIDEO = 1.5, 7.1, 26.0
TREES = 240
# benchmarks/results/publish.json: COPY into PostgreSQL, and what publishing takes beyond it.
COPIED_ROWS_PER_S = 126_787.0
AUDITED_ROWS_PER_S = 717_600 / (7.22 - 717_600 / 126_787)
# Bytes.
PLAY_BYTES = 40
SIDE_BYTES_A_USER = 94 * 4 + 64 * 4
ROW_BYTES_IN_POSTGRESQL = 100
TOP_K, CANDIDATE_K, KEPT_RUNS = 100, 2_000, 7


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


def core_seconds(size: Size, *, union: bool) -> dict[str, float]:
    """Of each step of a night; of training, once a week, on a sample of 100 million plays at most."""
    if union:
        scored = min(CANDIDATE_K, size.videos)
        user_ns = scored * NS_A_PAIR_AND_TREE * TREES + size.videos * RETRIEVAL_NS_A_VIDEO
    else:
        user_ns = size.videos * NS_A_GRID_PAIR_AND_TREE * TREES
    listed = size.users * TOP_K
    trained = min(size.plays, 10**8)
    return {
        "ingest": size.new_plays / INGEST_ROWS_PER_S,
        "features": size.new_plays / FEATURE_PLAYS_PER_S,
        "score": size.users * user_ns / 1e9,
        "load": listed / COPIED_ROWS_PER_S,
        "audit": listed / AUDITED_ROWS_PER_S,
        "join and train, weekly": trained / JOINED_ROWS_PER_S + trained / TRAIN_PLAYS_PER_S,
    }


def gigabytes(size: Size) -> dict[str, float]:
    """What lies where, and grows with what."""
    return {
        "log": size.plays * PLAY_BYTES / 1e9,
        "seen bits": size.users * size.videos / 8 / 1e9,
        "user side": size.users * SIDE_BYTES_A_USER / 1e9,
        "published runs": size.users * TOP_K * ROW_BYTES_IN_POSTGRESQL * KEPT_RUNS / 1e9,
    }


def table(core_hour: float, window_hours: float) -> str:
    """Markdown: a column a size."""
    lines = ["| | " + " | ".join(size.name for size in SIZES) + " |", "|---|" + "---|" * len(SIZES)]

    def add(what: str, cells: list[str]) -> None:
        lines.append(f"| {what} | " + " | ".join(cells) + " |")

    add("users, videos", [f"{size.users:,}, {size.videos:,}" for size in SIZES])
    add("plays kept, a day", [f"{size.plays:,}, {size.new_plays:,}" for size in SIZES])
    for step in core_seconds(SIZES[0], union=True):
        if step == "score":
            for union, said in ((False, '`candidates = "all"`'), (True, f"union of {CANDIDATE_K:,}")):
                scoring = [core_seconds(size, union=union)["score"] for size in SIZES]
                add(f"score, {said}", [_hours(seconds) for seconds in scoring])
        else:
            add(step, [_hours(core_seconds(size, union=True)[step]) for size in SIZES])
    nightly = [
        sum(s for step, s in core_seconds(size, union=True).items() if "weekly" not in step) for size in SIZES
    ]
    add("a night, union", [_hours(seconds) for seconds in nightly])
    add(
        f"cores for {window_hours:g} hours",
        [f"{math.ceil(seconds / 3600 / window_hours):,}" for seconds in nightly],
    )
    add(f"money a night at {core_hour:g} a core-hour", [f"{s / 3600 * core_hour:,.2f}" for s in nightly])
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
    print(table(arguments.core_hour, arguments.window_hours))


if __name__ == "__main__":
    main()
