"""What do lists lose where the rankers score a union of sources instead of every video, and what is saved?

The champion of a home ranks for some of its users: once all videos, then unions of several sizes of all
sources, then each source alone at one size. Reported: the share of the first 10 and 100 rows that stay,
their predicted value (the regressor's mean watch_ratio, as a share of that of the lists of all videos), and
milliseconds a user on one core. The source `als` is searched exactly, and by faiss where that is installed.

    python benchmarks/candidate_sources.py HOME [--result benchmarks/results/candidate_sources.json]
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from benchmarks.scored_home import ScoredHome
from nightreel.core.settings import CANDIDATE_SOURCES, Settings, load_settings
from pipelines.rankers.pair_ranker import PairRanker
from scoring.lists.candidates import Candidates
from scoring.lists.retrieval import Retrieval
from scoring.lists.rows import Lists
from scoring.lists.score import score_with

ALL_SOURCES = ",".join(name for name in CANDIDATE_SOURCES if name != "als_approximate")
SIZES = (500, 1_000, 2_000, 4_000)
ALONE_SIZE = 2_000


def load(settings: Settings, users: int) -> tuple[Candidates, PairRanker]:
    """Some users with history, chosen at random, and the champion, taken apart."""
    home = ScoredHome.load(settings)
    warm = np.flatnonzero(home.candidates.has_history)
    some = np.sort(np.random.default_rng(7).choice(warm, min(users, len(warm)), replace=False))
    few = home.with_users(some)
    return few.candidates, PairRanker.of(few.ranker, few.joined)


def score(
    candidates: Candidates, ranker: PairRanker, settings: Settings, size: int | None = None
) -> tuple[Lists, float]:
    """The lists, and seconds a user."""
    started = time.perf_counter()
    retrieval = Retrieval.of(candidates, ranker.joined, settings)
    if retrieval is not None and size is not None:
        retrieval = replace(retrieval, size=size)
    lists = Lists.concatenate(score_with(candidates, ranker, retrieval, settings))
    return lists, (time.perf_counter() - started) / len(candidates.user_id)


def compare(lists: Lists, best: Lists) -> dict[str, float]:
    """How much of the lists of all videos stays, and the predicted value of the lists."""

    def first(of: Lists, k: int) -> set[tuple[int, int]]:
        rows = of.rank <= k
        return set(zip(of.user_id[rows].tolist(), of.video_id[rows].tolist(), strict=True))

    stays = {f"stays_at_{k}": len(first(lists, k) & first(best, k)) / len(first(best, k)) for k in (10, 100)}
    return stays | {"predicted_value": float(lists.score.mean() / best.score.mean())}


def main() -> None:
    """Measure, print the tables, write the result file if one is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="a home with features and a champion; it is only read")
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--result", type=Path, help="JSON to write; without it the figures are only printed")
    arguments = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(arguments.home)
    settings = load_settings().changed({"threads": 1})
    candidates, ranker = load(settings, arguments.users)
    best, all_s = score(candidates, ranker, settings)
    rows: list[dict[str, Any]] = [
        {"sources": "all", "size": len(candidates.video_id), "ms_a_user": all_s * 1e3}
    ]
    with_faiss = importlib.util.find_spec("faiss") is not None
    asked = [(ALL_SOURCES, size) for size in SIZES]
    asked += [
        (source, ALONE_SIZE) for source in CANDIDATE_SOURCES if with_faiss or source != "als_approximate"
    ]
    if with_faiss:
        asked += [(ALL_SOURCES.replace("als", "als_approximate"), size) for size in SIZES]
    for sources, size in asked:
        lists, seconds = score(candidates, ranker, settings.changed({"retrieval.candidates": sources}), size)
        measured = {"sources": sources, "size": size, **compare(lists, best)}
        rows.append(measured | {"ms_a_user": seconds * 1e3})
        print(rows[-1], flush=True)
    if arguments.result is None:
        return
    result = {
        "machine": machine("numpy", "lightgbm") | {"load": round(os.getloadavg()[0], 1)},
        "users": len(candidates.user_id),
        "videos": len(candidates.video_id),
        "results": rows,
    }
    arguments.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
