"""A ranker that learns orders instead of values: LightGBM's lambdarank on graded watch_ratio.

It is evaluated beside the hybrid and does not score. A query is what a user watched in a week. Source:
Burges, From RankNet to LambdaRank to LambdaMART (MSR-TR-2010-82).
"""

from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from nightreel.core.logs import progress
from nightreel.core.settings import Settings
from pipelines.labels import Targets
from pipelines.model_rows.encoding import FeatureEncoding
from pipelines.rankers.binning import Matrix
from pipelines.rankers.slices import Slices

_FILE = "lambdamart.txt"
_WEEK_US = 7 * 86_400 * 1_000_000
_GRADES = 20  # of equal width, from 0 to the top of the target
_QUERY_ROWS_MAX = 2_000  # LightGBM takes at most 10,000
_TRUNCATION = 50  # places for which swaps count; the lists that matter are longer than LightGBM's 30
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

    user_id, instants_us: one entry a row, instants ascending.
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
    wanted: Targets,
    slices: Slices,
    *,
    user_id: np.ndarray,
    instants_us: np.ndarray,
    encoding: FeatureEncoding,
    parameters: dict[str, Any],
    settings: Settings,
) -> lgb.Booster | None:
    """Fit on users of slices.fit, stopped early on slices.stop; None where settings or data leave no plays.

    matrix, wanted, user_id, instants_us: all rows in order of time. parameters: LightGBM's.
    """
    grades = np.round(wanted.amount / wanted.top * _GRADES).astype(np.int32)
    sets: list[lgb.Dataset] = []
    for part, most in (
        (slices.fit, settings.ranker.lambdamart_plays),
        (slices.stop, int(settings.ranker.lambdamart_plays * _STOP_SHARE)),
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


def save_lambdamart(booster: lgb.Booster, folder: Path) -> None:
    """Write the model in LightGBM's text format."""
    (folder / _FILE).write_text(booster.model_to_string(), encoding="utf-8")


def load_lambdamart(folder: Path) -> lgb.Booster | None:
    """What `save_lambdamart` wrote, or None where there is none."""
    path = folder / _FILE
    return lgb.Booster(model_str=path.read_text(encoding="utf-8")) if path.is_file() else None
