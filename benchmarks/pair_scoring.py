"""How fast are pairs scored: by the model taken apart by users and videos, or by LightGBM's predict?

Takes a home with a trained champion, scores some users with all videos in three ways, on one thread each,
checks that the scores are equal to the last bit, and prints nanoseconds a pair and tree: in a grid (every
video of every user), as single pairs (what a union of candidate sources leaves), and by LightGBM.

    python benchmarks/pair_scoring.py --home benchmarks/work/1
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from benchmarks.measured_process import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
GRID, PAIRS, PREDICT = (
    "apart by users and videos, every video",
    "apart by users and videos, single pairs",
    "LightGBM's predict",
)
USERS = 60
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """Median seconds of one way to score; composing rows for LightGBM counts, as it has to be done.

    Attributes:
        nanoseconds: for a pair and tree.
    """

    way: str
    seconds: float
    nanoseconds: float


def measure(home: Path) -> tuple[list[Row], dict[str, int]]:
    """All ways on the same users and videos. Raises AssertionError where a score differs."""
    os.environ["NIGHTREEL_HOME"] = str(home)
    from feature_repo.open_store import store
    from nightreel.core.settings import load_settings
    from pipelines import model_registry
    from pipelines.model_rows.joined_features import JoinedFeatures, join_features
    from pipelines.rankers import HybridRanker
    from pipelines.rankers.pair_forest import PairForest
    from scoring.lists.eligibility import default_as_of, find_candidates

    settings = load_settings()
    ranker = HybridRanker.load(model_registry.champion(settings.paths).folder, threads=1)
    as_of = default_as_of(settings.paths, settings.data, datetime.now(UTC))
    candidates = find_candidates(settings, store(), as_of)
    users = candidates.user_id[np.linspace(0, len(candidates.user_id) - 1, USERS).astype(int)]
    joined = join_features(
        store(), ranker.encoding, users, candidates.video_id, as_of=as_of, zone=settings.data.zone
    )

    # What is asked of videos is answered once a night, whatever the users.
    forest = PairForest.of(ranker.classifier, joined)

    def apart() -> np.ndarray:
        leaves = forest.of_users(np.arange(len(users)))
        found = []
        for start in range(0, len(users), 6):
            some = np.arange(start, min(start + 6, len(users)))
            found.append(forest.catalogue(leaves[:, some], some, joined.als_grid(some)))
        return np.concatenate(found)

    def single_pairs() -> np.ndarray:
        leaves = forest.of_users(np.arange(len(users)))
        every = np.arange(len(candidates.video_id))
        return np.stack(
            [
                forest.pairs(leaves, own, every, joined.als_scores(user), *joined.pair_values(own, every))
                for user, own in enumerate(np.full((len(users), len(every)), np.arange(len(users))[:, None]))
            ]
        )

    def by_lightgbm() -> np.ndarray:
        rows = np.empty((len(candidates.video_id), len(joined.names)), dtype=np.float32)
        for index, of_videos in joined.video_columns().items():
            rows[:, index] = of_videos
        return np.stack([_predicted(user, rows, joined) for user in range(len(users))])

    def _predicted(user: int, rows: np.ndarray, joined: JoinedFeatures) -> np.ndarray:
        for index, of_user in joined.user_columns(np.array([user])).items():
            rows[:, index] = of_user
        rows[:, joined.als_index] = joined.als_scores(user)
        for index, (of_pairs,) in zip(
            joined.pair_indices[1:], joined.pair_grid(np.array([user])), strict=True
        ):
            rows[:, index] = of_pairs
        scores: np.ndarray = ranker.classifier.predict(rows, raw_score=True, num_threads=1)
        return scores

    expected = by_lightgbm()
    np.testing.assert_array_equal(apart(), expected)
    np.testing.assert_array_equal(single_pairs(), expected)
    trees = ranker.classifier.num_trees()
    pairs = len(users) * len(candidates.video_id)
    rows = [
        _timed(GRID, apart, pairs * trees),
        _timed(PAIRS, single_pairs, pairs * trees),
        _timed(PREDICT, by_lightgbm, pairs * trees),
    ]
    return rows, {"users": len(users), "videos": len(candidates.video_id), "trees": trees}


def _timed(way: str, run: Callable[[], object], pairs_and_trees: int) -> Row:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    median = float(np.median(seconds))
    return Row(way, round(median, 3), round(median / pairs_and_trees * 1e9, 2))


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--home", type=Path, default=ROOT / "benchmarks" / "work" / "1", help="home with a champion"
    )
    parser.add_argument(
        "--out", type=Path, default=RESULTS / "pair_scoring.json", help="where the figures are written"
    )
    arguments = parser.parse_args()
    rows, sizes = measure(arguments.home.resolve())
    print(f"{sizes['users']} users x {sizes['videos']:,} videos, {sizes['trees']} trees")
    for row in rows:
        print(f"{row.way:<34}{row.seconds:>9.2f} s{row.nanoseconds:>9.2f} ns a pair and tree")
    arguments.out.parent.mkdir(exist_ok=True)
    result = {"machine": machine("lightgbm", "numpy"), **sizes, "rows": [asdict(row) for row in rows]}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
