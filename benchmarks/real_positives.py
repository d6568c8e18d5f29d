"""On the real pieces of KuaiRec, does the hybrid rank unseen videos at least as well as popularity does?

Makes raw files of the pieces (what is made up: benchmarks/real_pieces.py), runs ingest, features, feast apply
and train on them, and ranks for a share of the users all videos that are neither their positives for training
nor in the hole, by the held-out positives. Prints each system's mean over users with its bootstrap interval,
and the paired difference to the ranking by positives. What is learnt depends on the made-up plays: vary them.

    python benchmarks/real_positives.py FOLDER
    python benchmarks/real_positives.py FOLDER --others 8 --exposure root
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

from benchmarks.full_kuairec import run_step
from benchmarks.measured_process import machine
from benchmarks.real_pieces import EXPOSURES, Pieces, read_pieces, write_raw
from nightreel.core import columns
from pipelines.metrics import (
    Order,
    Outcome,
    RankedLists,
    bootstrap_intervals,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)

RESULT = Path(__file__).parent / "results" / "real_positives.json"
STEPS = ("ingest", "features", "feast apply", "train")
# Like the positives: watched at least twice over.
SETTINGS = 'data.targets.like_threshold = 2.0\nranker.objective = "shown"\n'
POPULARITY = "popularity_by_positives"
METRICS = {
    "precision@10": (precision_at_k, 10),
    "precision@20": (precision_at_k, 20),
    "ndcg@10": (ndcg_at_k, 10),
    "recall@100": (recall_at_k, 100),
}
_DEPTH = 100
_SEED = 0
_USERS_AT_A_TIME = 64


@dataclass(frozen=True)
class Figure:
    """A system's mean over users with its interval, and the same of its difference to popularity."""

    system: str
    metric: str
    value: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float


def scores_of(pieces: Pieces, users: np.ndarray) -> dict[str, np.ndarray]:
    """Every system's scores in the current home, as of the end of its log: float64 [users, videos].

    Args:
        users: positions of the users to be ranked for.
    """
    from feature_repo.open_store import store as open_store
    from nightreel.core.settings import load_settings
    from pipelines import model_registry
    from pipelines.rankers import HybridRanker, hybrid_scores
    from pipelines.rankers.filtering import filter_size
    from pipelines.rankers.matrix import FeatureMatrix
    from pipelines.training_frame import FeatureFrame
    from scoring.lists.eligibility import default_as_of

    settings = load_settings()
    ranker = HybridRanker.load(model_registry.champion(settings.paths).folder, threads=settings.threads)
    store, as_of = open_store(), default_as_of(settings.paths, settings.data, datetime.now(UTC))
    columns_of = {"popularity_by_engagement": "video_agg_liked_share", "als": "als_score"}
    shape = (len(users), len(pieces.videos))
    stages = ("classifier", "regressor", "hybrid")
    found = {name: np.empty(shape) for name in (*columns_of, *stages, "plays")}
    for start in range(0, len(users), _USERS_AT_A_TIME):
        part = users[start : start + _USERS_AT_A_TIME]
        user_id = np.repeat(pieces.users[part], shape[1])
        video_id = np.tile(pieces.videos, len(part))
        rows = pl.DataFrame({"user_id": user_id, "video_id": video_id}).with_columns(
            pl.lit(as_of, dtype=pl.Datetime("us", "UTC")).alias("event_timestamp")
        )
        block = FeatureMatrix(FeatureFrame.join(store, rows, settings.data.zone), ranker.encoding)[:]
        features = columns_of | {"plays": columns.USER_AGG_INTERACTIONS}
        own = {name: block[:, ranker.feature_names.index(of)] for name, of in features.items()}
        own |= {"classifier": ranker.classify(block), "regressor": ranker.regress(block)}
        own["hybrid"] = ranker.ordering(own["regressor"], own["als"])
        for name, values in own.items():
            found[name][start : start + len(part)] = values.reshape(len(part), -1)
    plays = np.nan_to_num(found.pop("plays"))
    if not ranker.shrinkage.changes_nothing:
        common = np.broadcast_to(found["hybrid"].mean(axis=0), shape)
        found["hybrid"] = ranker.shrinkage.applied(found["hybrid"], common, plays)
    every = (np.repeat(pieces.users[users], shape[1]), np.tile(pieces.videos, len(users)))
    likely, ordering = (found[name].ravel() for name in ("classifier", "hybrid"))
    kept = filter_size(settings.ranker, settings.lists)
    scored = hybrid_scores(*every, likely, ordering, filter_k=kept, catalogue=shape[1])
    found["hybrid"] = scored.reshape(shape)
    popularity = pieces.positives_of_videos().astype(np.float64)
    chance = np.random.default_rng(_SEED).random(shape)
    return {"random": chance, POPULARITY: np.broadcast_to(popularity, shape)} | found


def compare(pieces: Pieces, users: np.ndarray, scores: Mapping[str, np.ndarray]) -> list[Figure]:
    """Each system's figures over the users that have a held-out positive among their candidates."""
    shape = (len(pieces.users), len(pieces.videos))
    taken = pieces.train.matrix(*shape)[users] | pieces.hole[users]
    candidate = ~taken
    user, video = np.nonzero(candidate)
    outcome = Outcome.of(user, pieces.valid.matrix(*shape)[users][candidate], None, _DEPTH)
    values = {
        system: np.column_stack([metric(lists, k) for metric, k in METRICS.values()])
        for system, lists in (
            (system, RankedLists.ordered(Order.of(user, video, score[candidate]), outcome))
            for system, score in scores.items()
        )
    }
    figures = []
    for system, own in values.items():
        difference = own - values[POPULARITY]
        low, high = bootstrap_intervals(own, seed=_SEED)
        difference_low, difference_high = bootstrap_intervals(difference, seed=_SEED)
        for index, metric in enumerate(METRICS):
            figures.append(
                Figure(
                    system,
                    metric,
                    *(round(float(x[index]), 5) for x in (own.mean(axis=0), low, high)),
                    *(
                        round(float(x[index]), 5)
                        for x in (difference.mean(axis=0), difference_low, difference_high)
                    ),
                )
            )
    return figures


def ranked_users(pieces: Pieces, count: int) -> np.ndarray:
    """Positions of so many users with held-out positives, drawn at random; all where there are fewer."""
    users = np.unique(pieces.valid.user)
    random = np.random.default_rng(_SEED)
    return np.sort(random.choice(users, min(count, len(users)), replace=False))


def _print(figures: list[Figure]) -> None:
    for metric in METRICS:
        print(f"\n{metric:<28}{'value':>8}  {'95 % interval':<18}{'to popularity':>14}  95 % interval")
        for row in (figure for figure in figures if figure.metric == metric):
            print(
                f"{row.system:<28}{row.value:>8.4f}  [{row.low:.4f}, {row.high:.4f}]"
                f"{row.difference:>+14.4f}  [{row.difference_low:+.4f}, {row.difference_high:+.4f}]"
            )


def main() -> None:
    """Make the raw files, run the steps, compare; print, and add to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the real pieces")
    parser.add_argument("--others", type=float, default=4.0, help="made-up other plays a positive (4)")
    parser.add_argument(
        "--exposure", choices=EXPOSURES, default="even", help="how these fall on videos (even)"
    )
    parser.add_argument("--user-share", type=float, default=1.0, help="share of the users, by hash (1)")
    parser.add_argument("--videos", type=int, help="most frequent videos to keep (all)")
    parser.add_argument("--ranked", type=int, default=1_000, help="users to rank for (1000)")
    parser.add_argument("--home", type=Path, help="folder to work in (a temporary one)")
    chosen = parser.parse_args()
    pieces = read_pieces(chosen.folder, user_share=chosen.user_share, videos=chosen.videos)
    with tempfile.TemporaryDirectory() as temporary:
        home = (chosen.home or Path(temporary)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        (home / "nightreel.toml").write_text(SETTINGS, encoding="utf-8")
        made = write_raw(
            pieces,
            chosen.folder,
            home / "raw",
            others=chosen.others,
            exposure=chosen.exposure,
            seed=_SEED,
        )
        print(json.dumps(made), flush=True)
        for step in STEPS:
            row = run_step("real pieces", step, home)
            print(f"{step}: {row.seconds} s, {row.peak_mib:,.0f} MiB {row.error}", flush=True)
            if row.error:
                raise SystemExit(row.error)
        os.environ["NIGHTREEL_HOME"] = str(home)
        users = ranked_users(pieces, chosen.ranked)
        figures = compare(pieces, users, scores_of(pieces, users))
    _print(figures)
    run = {
        "others": chosen.others,
        "exposure": chosen.exposure,
        "user_share": chosen.user_share,
        **made,
        "ranked_users": len(users),
        "figures": [asdict(figure) for figure in figures],
    }
    _add(run)


def _add(run: dict[str, Any]) -> None:
    """Write the run beside those of other assumptions, instead of an earlier one of the same."""
    runs = json.loads(RESULT.read_text(encoding="utf-8"))["runs"] if RESULT.is_file() else []
    keys = ("others", "exposure", "user_share", "videos")
    runs = [old for old in runs if any(old[key] != run[key] for key in keys)] + [run]
    content = {"machine": machine("lightgbm", "polars"), "runs": runs}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
