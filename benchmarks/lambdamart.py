"""Does a ranker that learns orders instead of values rank what is shown better than the hybrid?

Fits LightGBM's lambdarank on graded watch_ratio, on the plays that the champion of a home was trained on, and
ranks with both what each protocol of `evaluate` holds out. A query is what a user watched in a week. Source:
Burges, From RankNet to LambdaRank to LambdaMART (MSR-TR-2010-82).

    python benchmarks/lambdamart.py HOME
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nightreel.core.instants import DAY_US

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lightgbm as lgb
import numpy as np

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.logs import progress
from nightreel.core.printing import print_table
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.evaluate.pair_scores import Models
from pipelines.evaluate.protocols import Pairs, protocol_pairs
from pipelines.evaluate.system_names import HYBRID
from pipelines.evaluate.trials import trial
from pipelines.labels import LengthBuckets, Targets
from pipelines.metrics import Order, Outcome, RankedLists, bootstrap_intervals, ndcg_at_k
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.model_rows.joined_features import join_features
from pipelines.rankers import HybridRanker
from pipelines.rankers.binning import Matrix
from pipelines.rankers.boosting import common_parameters
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.rankers.pair_ranker import als_scores_of_pairs, scores_of_pairs
from pipelines.rankers.slices import Slices
from pipelines.rankers.training_data import TrainingData
from pipelines.training_frame import FeatureFrame

_PLAYS = 500_000
_AT = 10
_WEEK_US = 7 * DAY_US
_GRADES = 20  # of equal width, from 0 to the top of the target
_QUERY_ROWS_MAX = 2_000  # LightGBM takes at most 10,000
_TRUNCATION = 50  # ranks for which swaps count; the lists that matter are longer than LightGBM's 30
_STOP_SHARE = 0.25  # of the plays fitted on, as many again at most say when to stop


def chosen_rows(user_id: np.ndarray, rows: slice, most: int, seed: int) -> np.ndarray:
    """Rows of whole users, drawn at random until `most` rows are reached: int64, ascending."""
    users, group, sizes = np.unique(user_id[rows], return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(users))
    enough = drawn[np.cumsum(sizes[drawn]) <= most]
    chosen: np.ndarray = np.flatnonzero(np.isin(group, enough)) + rows.start
    return chosen


def queries(user_id: np.ndarray, instants_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that puts each query's rows together, and the size of each query: two int64 arrays.

    Args:
        user_id, instants_us: one entry per row, instants ascending.
    """
    week = (instants_us - instants_us.min(initial=0)) // _WEEK_US
    order = np.lexsort((week, user_id))
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (np.diff(user_id[order]) != 0) | (np.diff(week[order]) != 0)
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(order)))
    parts = -(-sizes // _QUERY_ROWS_MAX)
    even = [
        np.diff(np.linspace(0, size, part + 1).astype(np.int64))
        for size, part in zip(sizes, parts, strict=True)
    ]
    return order, np.concatenate([*even, np.zeros(0, dtype=np.int64)])


def fit_lambdamart(
    matrix: Matrix,
    targets: Targets,
    slices: Slices,
    *,
    user_id: np.ndarray,
    instants_us: np.ndarray,
    encoding: FeatureEncoding,
    parameters: dict[str, Any],
    settings: Settings,
    plays: int = _PLAYS,
) -> lgb.Booster | None:
    """Fit on users of slices.fit, stopped early on slices.stop; None where nothing is left to fit on.

    matrix, targets, user_id, instants_us: all rows in order of time. parameters: LightGBM's. plays: at most
    so many are fitted on.
    """
    grades = np.round(targets.amount / targets.top * _GRADES).astype(np.int32)
    sets: list[lgb.Dataset] = []
    for part, most in (
        (slices.fit, plays),
        (slices.stop, int(plays * _STOP_SHARE)),
    ):
        rows = chosen_rows(user_id, part, most, settings.seed)
        if not len(rows) or not grades[rows].any():
            return None
        order, sizes = queries(user_id[rows], instants_us[rows])
        rows = rows[order]
        sets.append(
            lgb.Dataset(
                matrix[rows],
                grades[rows],
                group=sizes,
                reference=sets[0] if sets else None,
                feature_name=list(encoding.names),
                categorical_feature=list(encoding.categorical),
                params=parameters,
            )
        )
    own = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "label_gain": list(range(_GRADES + 1)),
        "lambdarank_truncation_level": _TRUNCATION,
    }
    with progress("lambdamart", total=settings.ranker.lightgbm.num_iterations) as advance:
        booster = lgb.train(
            {**parameters, **own},
            sets[0],
            num_boost_round=settings.ranker.lightgbm.num_iterations,
            valid_sets=[sets[1]],
            callbacks=[
                lgb.early_stopping(settings.ranker.lightgbm.early_stopping_round, verbose=False),
                lambda _: advance(),
            ],
        )
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=booster.best_iteration))


def fit_on_home(settings: Settings, plays: int) -> lgb.Booster:
    """The ranker of the home's own plays, joined and cut as `train` does it."""
    store = open_store()
    data = TrainingData.join(store, settings)
    frame = FeatureFrame.join(store, data.plays, settings.data.zone)  # of all plays, not of some
    booster = fit_lambdamart(
        FeatureMatrix(frame, data.encoding),
        data.targets,
        data.slices,
        user_id=data.plays[columns.USER_ID].to_numpy(),
        instants_us=frame.instants,
        encoding=data.encoding,
        parameters=common_parameters(settings, data.slices.fit.stop - data.slices.fit.start),
        settings=settings,
        plays=plays,
    )
    if booster is None:
        raise SystemExit("Nothing to fit on: no play of the log is liked at all.")
    return booster


def compare(pairs: Pairs, booster: lgb.Booster, models: Models, settings: Settings) -> dict[str, Any]:
    """NDCG@10 of the hybrid and of the ranker, and their difference over the same users."""
    store = open_store()
    made = trial(pairs, store=store, models=models, settings=settings)
    users, user = np.unique(made.user_id, return_inverse=True)
    videos, video = np.unique(made.video_id, return_inverse=True)
    joined = join_features(
        store, models.ranker.encoding, users, videos, as_of=pairs.as_of, zone=settings.data.zone
    )
    als = als_scores_of_pairs(joined, user, video)
    own = scores_of_pairs(booster, joined, user, video, als, threads=settings.threads)
    outcome = Outcome.of(made.user_id, made.targets[settings.data.targets.label].liked, None, _AT)
    found = {
        name: ndcg_at_k(RankedLists.ordered(Order.of(made.user_id, made.video_id, scores), outcome), _AT)
        for name, scores in ((HYBRID, made.scores[HYBRID]), ("lambdamart", own))
    }
    difference = found["lambdamart"] - found[HYBRID]
    low, high = bootstrap_intervals(difference[:, None], seed=settings.seed)[:, 0].tolist()
    means = {name: float(values.mean()) for name, values in found.items()}
    gain = {"difference": float(difference.mean()), "low": low, "high": high}
    return {"protocol": pairs.protocol, **means, **gain}


def main() -> None:
    """Fit, compare on each protocol, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="a home with a champion")
    parser.add_argument("--plays", type=int, default=_PLAYS, help="most plays to fit on (500000)")
    chosen = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(chosen.home.resolve())
    settings = load_settings()
    champion = model_registry.champion(settings.paths)
    ranker = HybridRanker.load(champion.folder, threads=settings.threads)
    models = Models(ranker, LengthBuckets.load(champion.folder))
    booster = fit_on_home(settings, chosen.plays)
    print_table([compare(one, booster, models, settings) for one in protocol_pairs(settings, champion)])


if __name__ == "__main__":
    main()
