"""What does it cost to train on some of the users, as a log that is longer than memory is trained on?

Judges a home's champion, which has learnt from all of its plays, and rankers that are trained on fewer, on
the same rows: the hold-out of all users, and the fully observed matrix. Seconds are of the processor, for
join, trees and order.

    python benchmarks/user_sample.py --home benchmarks/work/1
    python benchmarks/user_sample.py --home benchmarks/work/1 --plays 6000000 1200000
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from feast import FeatureStore

from benchmarks.measured_process import machine
from feature_repo.open_store import store as open_store
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry, user_sample
from pipelines.evaluate.pair_scores import Models
from pipelines.evaluate.protocols import kuairec_pairs
from pipelines.evaluate.trials import trial
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.holdout import Holdout
from pipelines.rankers.hybrid import HybridRanker
from pipelines.rankers.training import fit_shown
from pipelines.rankers.training_data import TrainingData

RESULT = Path(__file__).parent / "results" / "user_sample.json"
PLAYS = (6_000_000, 1_200_000)
_EVERY_PLAY = sys.maxsize


def fitted(plays: int, store: FeatureStore, settings: Settings) -> tuple[HybridRanker, dict[str, Any]]:
    """The rankers as `train` fits them on about so many plays; and of how many users, in how many seconds."""
    user_sample.PLAYS_MAX = plays
    started = time.process_time()
    data = TrainingData.join(store, settings)
    ranker = fit_shown(data, store, settings)
    return ranker, {
        "plays": data.plays.height,
        "users": data.plays["user_id"].n_unique(),
        "cpu_seconds": round(time.process_time() - started, 1),
    }


def judged(
    ranker: HybridRanker, data: TrainingData, store: FeatureStore, settings: Settings
) -> dict[str, float]:
    """The figures of the hold-out, and NDCG@10 of the matrix, by the label ratio."""
    found = Holdout.of(data, store).metrics(ranker, settings)
    of = trial(kuairec_pairs(settings), store=store, models=Models(ranker, data.buckets), settings=settings)
    outcome = Outcome.of(of.user_id, of.targets["ratio"].liked, None, 10)
    order = Order.of(of.user_id, of.video_id, of.scores["hybrid"])
    ndcg = ndcg_at_k(RankedLists.ordered(order, outcome), 10)
    return {name: round(value, 4) for name, value in found.items()} | {
        "matrix_ndcg_at_10": round(float(np.mean(ndcg)), 4)
    }


def main() -> None:
    """Train and judge each, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="with features and a champion")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--plays", type=int, nargs="+", default=list(PLAYS))
    arguments = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(arguments.home.resolve())
    settings, store = load_settings(), open_store()
    trained = [fitted(plays, store, settings) for plays in arguments.plays]
    champion = model_registry.champion(settings.paths)
    facts = {"plays": "all", "users": champion.manifest["data"]["users"]}
    rankers = [(HybridRanker.load(champion.folder, threads=settings.threads), facts), *trained]
    user_sample.PLAYS_MAX = _EVERY_PLAY
    data = TrainingData.join(store, settings)
    rows = []
    for ranker, facts in rankers:
        rows.append(facts | judged(ranker, data, store, settings))
        print(rows[-1], flush=True)
    result = {"machine": machine("polars", "lightgbm", "feast"), "rows": rows}
    arguments.result.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
