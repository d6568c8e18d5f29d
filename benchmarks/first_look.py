"""What does the first look at a large catalogue cost in lists, and what does it save?

Scores some users of a home with a champion twice: with all trees for every candidate, and with the first
look that `rough_trees` and `rough_k` set. Prints seconds and the share of the exact lists that is kept.

    python benchmarks/first_look.py --home benchmarks/work/1 --users 500
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.measured_process import machine
from scoring.lists import Lists

RESULT = Path(__file__).parent / "results" / "first_look.json"
DEPTHS = (10, 100)


def kept_share(exact: Lists, quick: Lists, depth: int) -> float:
    """The share of the rows of the exact lists, down to `depth`, that the quick lists hold as deep."""
    pairs = [
        set(zip(lists.user_id[lists.rank <= depth], lists.video_id[lists.rank <= depth], strict=True))
        for lists in (exact, quick)
    ]
    return len(pairs[0] & pairs[1]) / len(pairs[0])


def main() -> None:
    """Measure, then print and write benchmarks/results/first_look.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="a home in which `nightreel train` has run")
    parser.add_argument("--users", type=int, default=500, help="users to score")
    chosen = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(chosen.home.resolve())

    from datetime import UTC, datetime

    from feature_repo.open_store import store as open_store
    from nightreel.settings import load_settings
    from pipelines import model_registry
    from pipelines.rankers import HybridRanker
    from scoring.eligibility import default_as_of, find_candidates
    from scoring.score import score_users
    from scoring.sides import sides_as_of

    settings = load_settings()
    ranker = HybridRanker.load(model_registry.champion(settings).folder, threads=settings.threads)
    store = open_store()
    as_of = default_as_of(settings, datetime.now(UTC))
    candidates = find_candidates(settings, store, as_of)
    sides = sides_as_of(
        store, ranker.encoding, candidates.user_id, candidates.video_id, as_of=as_of, zone=settings.zone
    )
    lists, seconds = [], []
    for rough_k in (len(candidates.video_id), settings.rough_k):
        started = time.perf_counter()
        some: list[Lists] = []
        rows = 0
        changed = settings.model_copy(update={"rough_k": rough_k})
        for block in score_users(candidates, sides, ranker, changed):
            some.append(block)
            rows += len(np.unique(block.user_id))
            if rows >= chosen.users:
                break
        seconds.append(time.perf_counter() - started)
        lists.append(Lists.concatenate(iter(some)))
    kept = {depth: kept_share(*lists, depth) for depth in DEPTHS}
    print(f"{rows} users x {len(candidates.video_id)} videos, {ranker.classifier.num_trees()} trees")
    print(f"all trees for all: {seconds[0]:.1f} s; first look: {seconds[1]:.1f} s")
    for depth, share in kept.items():
        print(f"kept of the exact top {depth}: {share:.4%}")
    result = {
        "users": rows,
        "videos": len(candidates.video_id),
        "trees": ranker.classifier.num_trees(),
        "rough_trees": settings.rough_trees,
        "rough_k": settings.rough_k,
        "seconds": [round(value, 1) for value in seconds],
        "kept_share": kept,
        "machine": machine("lightgbm"),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
