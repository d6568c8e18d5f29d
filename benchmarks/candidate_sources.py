"""What do lists lose where the rankers score a union of sources instead of every video, and what is saved?

The champion of a home ranks for some of its users: once all videos, then unions of several sizes of all
sources, then each source alone at one size. Told are the share of the first 10 and 100 places that stay, what
the lists are worth by the regressor (mean predicted watch_ratio, as a share of that of the lists of all), and
milliseconds a user on one core. `nearest` is the search alone: exact products of factors with catalogues of
several sizes, one user at a time and many at once.

    python benchmarks/candidate_sources.py HOME
"""

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from feature_repo.open_store import store as open_store
from nightreel.settings import CANDIDATE_SOURCES, Settings, load_settings
from pipelines import model_registry
from pipelines.rankers import HybridRanker
from pipelines.rankers.pair_ranker import PairRanker
from pipelines.rankers.sides import sides_as_of
from scoring.candidates import Candidates
from scoring.eligibility import default_as_of, find_candidates
from scoring.lists import Lists
from scoring.score import score_with

RESULT = Path(__file__).parent / "results" / "candidate_sources.json"
ALL_SOURCES = ",".join(CANDIDATE_SOURCES)
SIZES = (500, 1_000, 2_000, 4_000)
ALONE_SIZE = 2_000
FACTORS = 64
CATALOGUES = (10_000, 100_000, 1_000_000)


def load(settings: Settings, users: int) -> tuple[Candidates, PairRanker]:
    """Some users with history, chosen at random, and the champion, taken apart."""
    store, as_of = open_store(), default_as_of(settings, datetime.now(UTC))
    ranker = HybridRanker.load(model_registry.champion(settings).folder, threads=1)
    found = find_candidates(settings, store, as_of)
    ids = (found.user_id, found.video_id)
    sides = sides_as_of(store, ranker.encoding, *ids, as_of=as_of, zone=settings.zone)
    warm = np.flatnonzero(found.has_history)
    some = np.sort(np.random.default_rng(7).choice(warm, min(users, len(warm)), replace=False))
    few = replace(
        found, user_id=found.user_id[some], has_history=found.has_history[some], seen=found.seen[some]
    )
    of_few = replace(
        sides,
        users=replace(sides.users, values=sides.users.values[some]),
        user_factors=sides.user_factors[some],
    )
    return few, PairRanker.of(ranker, of_few)


def score(candidates: Candidates, ranker: PairRanker, settings: Settings) -> tuple[Lists, float]:
    """The lists, and seconds a user."""
    started = time.perf_counter()
    lists = Lists.concatenate(score_with(candidates, ranker, settings))
    return lists, (time.perf_counter() - started) / len(candidates.user_id)


def compare(lists: Lists, best: Lists) -> dict[str, float]:
    """How much of the lists of all videos stays, and what the lists are worth by the regressor."""

    def first(of: Lists, k: int) -> set[tuple[int, int]]:
        rows = of.rank <= k
        return set(zip(of.user_id[rows].tolist(), of.video_id[rows].tolist(), strict=True))

    stays = {f"stays_at_{k}": len(first(lists, k) & first(best, k)) / len(first(best, k)) for k in (10, 100)}
    return stays | {"worth": float(lists.score.mean() / best.score.mean())}


def nearest(catalogue: int, k: int = 500) -> dict[str, float]:
    """Milliseconds a user of an exact search for the k nearest, one at a time and 64 at once, one core."""
    random = np.random.default_rng(3)
    videos = random.standard_normal((catalogue, FACTORS), dtype=np.float32)
    users = random.standard_normal((64, FACTORS), dtype=np.float32)
    started = time.perf_counter()
    for user in users[:16]:
        np.argpartition(-(videos @ user), k)
    one = (time.perf_counter() - started) / 16
    started = time.perf_counter()
    for scores in users @ videos.T:
        np.argpartition(-scores, k)
    many = (time.perf_counter() - started) / len(users)
    return {"catalogue": catalogue, "one_ms": one * 1e3, "many_ms": many * 1e3}


def main() -> None:
    """Measure, print the tables, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="a home with features and a champion; it is only read")
    parser.add_argument("--users", type=int, default=300)
    arguments = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(arguments.home)
    settings = load_settings().model_copy(update={"threads": 1})
    candidates, ranker = load(settings, arguments.users)
    best, all_s = score(candidates, ranker, settings)
    rows: list[dict[str, Any]] = [
        {"sources": "all", "size": len(candidates.video_id), "ms_a_user": all_s * 1e3}
    ]
    wanted = [(ALL_SOURCES, size) for size in SIZES] + [(source, ALONE_SIZE) for source in CANDIDATE_SOURCES]
    for sources, size in wanted:
        lists, seconds = score(
            candidates, ranker, settings.model_copy(update={"candidates": sources, "candidate_k": size})
        )
        rows.append({"sources": sources, "size": size, **compare(lists, best), "ms_a_user": seconds * 1e3})
        print(rows[-1], flush=True)
    searches = [nearest(catalogue) for catalogue in CATALOGUES]
    print(*searches, sep="\n")
    RESULT.parent.mkdir(exist_ok=True)
    told = {
        "machine": machine("numpy", "lightgbm") | {"load": round(os.getloadavg()[0], 1)},
        "users": len(candidates.user_id),
        "videos": len(candidates.video_id),
        "results": rows,
        "nearest": searches,
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
