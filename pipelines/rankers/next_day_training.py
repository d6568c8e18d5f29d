"""Fits the next day's rankers on past nights, and the order that ranks best for users they have not seen."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import lightgbm as lgb
import numpy as np

from nightreel.core.logs import progress
from pipelines.metrics import Order, Outcome, RankedLists, ndcg_at_k
from pipelines.rankers.averaging import averaged
from pipelines.rankers.blend import Blend, tuned_blend
from pipelines.rankers.data_sets import filled
from pipelines.rankers.examples import SESSIONS, SMALL_LOG_PLAYS
from pipelines.rankers.next_day import (
    CLASSIFIER,
    HISTORY_PLAYS,
    LAMBDAMART,
    REGRESSOR,
    SOURCES,
    NextDayRanker,
    mean_of_sources,
)
from pipelines.rankers.past_nights import NightRows
from pipelines.rankers.shrinkage import Shrinkage, fitted_shrinkage, mean_of_others

_TREES, _SEEDS = 150, 2**31
# Of a small log: how many models of each kind are averaged, since one alone depends much on its seed; and the
# leaves of a tree, since larger trees learn single videos by heart.
_SMALL_LOG_MEMBERS, _SMALL_LOG_LEAVES, _LEAVES = 3, 7, 15
MEASURED_AT = (10, 100)
# A smaller gain is chance on so few users: with a smaller one the classifier alone was chosen on MovieLens,
# with recall@20 .263, while both models together have .274.
_LEAST_RELATIVE_GAIN = 0.01
_OBJECTIVES: dict[str, dict[str, Any]] = {
    CLASSIFIER: {"objective": "binary"},
    REGRESSOR: {"objective": "regression"},
    LAMBDAMART: {"objective": "lambdarank", "lambdarank_truncation_level": 20},
}


@dataclass(frozen=True)
class TriedOrder:
    """The best order for users that the models have not seen.

    Attributes:
        models: fitted on the others.
        quality: the validation users' mean NDCG at 10 and 100 by each order that was tried.
        scores: by this order, shrunk, float64 [validation rows]; None where there is nothing to compare.
    """

    models: dict[str, lgb.Booster]
    order: Blend
    shrinkage: Shrinkage
    quality: dict[str, float]
    scores: np.ndarray | None


def fit_next_day(
    rows: NightRows, seed: int, threads: int, *, on_all: bool = True
) -> tuple[NextDayRanker, dict[str, float]]:
    """Fit the rankers and choose their order on the validation users.

    Args:
        on_all: whether the models are then fitted again on all users.

    Returns:
        The ranker, and the quality of each order that was tried.
    """
    tried = tried_order(rows, seed, threads)
    models = tried.models
    if on_all or not models:
        members = _SMALL_LOG_MEMBERS if _is_small(rows) else 1
        counting = {name: members for name, weight in tried.order.weights.items() if weight}
        models = _fit(rows, rows.is_sampled, seed, threads, members={CLASSIFIER: members} | counting)
    found = NextDayRanker(rows.names, models, tried.order, tried.shrinkage, rows.left_out)
    return found, tried.quality


def tried_order(rows: NightRows, seed: int, threads: int) -> TriedOrder:
    """Choose the order with models that have seen no validation user.

    It is classifier and LambdaMART together, unless other weights are clearly better; where examples are
    sessions, half of it is the sources' mean. The weight of its personal part is chosen the same way.
    """
    fitted = ~rows.is_validation & rows.is_sampled
    if not (rows.liked[fitted].any() and rows.liked[rows.is_validation].any()):
        return TriedOrder({}, Blend.alone(CLASSIFIER), Shrinkage(), {}, None)
    models = _fit(rows, fitted, seed, threads)
    trial = NextDayRanker(rows.names, models, Blend.alone(CLASSIFIER))
    features = rows.features[rows.is_validation]
    components = {name: trial.raw(name, features) for name in (REGRESSOR, CLASSIFIER, LAMBDAMART)}
    components[SOURCES] = mean_of_sources(rows.names, features)
    judge = Judge(rows)
    quality = {name: judge(scores) for name, scores in components.items()}
    order = tuned_blend(
        components,
        (CLASSIFIER, LAMBDAMART),
        judge,
        least_gain=_LEAST_RELATIVE_GAIN * max(quality.values()),
    )
    if rows.kind == SESSIONS:
        order = _with_sources(order)
    scores = order.scores(components)
    quality["order"] = judge(scores)
    shrinkage = Shrinkage()
    if HISTORY_PLAYS in rows.names:
        shrinkage, scores = _shrinkage(rows, scores, judge)
        quality["shrunk"] = judge(scores)
    return TriedOrder(models, order, shrinkage, quality, scores)


def _with_sources(order: Blend) -> Blend:
    """The order in which the mean of the sources counts as much as all models together.

    Validation sessions are of the same days as those that models learn from, so what these know of the days
    counts too much: lists are made for the end of the log (docs/decisions/candidate-sources.md).
    """
    models = {name: weight for name, weight in order.weights.items() if name != SOURCES}
    return replace(order, weights=models | {SOURCES: max(order.weights[SOURCES], sum(models.values()))})


def _shrinkage(rows: NightRows, scores: np.ndarray, judge: "Judge") -> tuple[Shrinkage, np.ndarray]:
    """The weight of the order's personal part, and the scores with that weight.

    Args:
        scores: of validation rows.
    """
    chosen = rows.is_validation
    pairs = np.column_stack([rows.night[chosen], rows.video_id[chosen]])
    same = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    common = mean_of_others(scores, same)
    plays = rows.features[chosen, rows.names.index(HISTORY_PLAYS)].astype(np.float64)
    first_rows = np.unique(rows.group[chosen], return_index=True)[1]
    found = fitted_shrinkage(scores, common, plays, first_rows, judge.of_examples)
    return found, found.applied(scores, common, plays)


class Judge:
    """The mean NDCG at 10 and 100 over the validation examples."""

    def __init__(self, rows: NightRows) -> None:
        """Keep the needed columns of the validation examples among these rows."""
        self._group = rows.group[rows.is_validation]
        self._outcome = Outcome.of(self._group, rows.liked[rows.is_validation], None, max(MEASURED_AT))

    def __call__(self, scores: np.ndarray) -> float:
        """The quality of scores: float64 [validation rows]."""
        return float(self.of_examples(scores).mean())

    def of_examples(self, scores: np.ndarray) -> np.ndarray:
        """The quality of each example's scores: float64 [examples]."""
        video = np.arange(len(scores))
        lists = RankedLists.ordered(Order.of(self._group, video, scores), self._outcome)
        found: np.ndarray = np.mean([ndcg_at_k(lists, k) for k in MEASURED_AT], axis=0)
        return found


def _is_small(rows: NightRows) -> bool:
    return rows.log_plays <= SMALL_LOG_PLAYS


def _fit(
    rows: NightRows,
    chosen: np.ndarray,
    seed: int,
    threads: int,
    *,
    members: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, lgb.Booster]:
    """Fit each kind of model on the chosen rows.

    Args:
        members: for each kind, how many models are averaged, which differ by their seeds; by default one.
    """
    features = rows.features if chosen.all() else rows.features[chosen]
    group = np.bincount(rows.group[chosen])
    # The models grow at the same time, because LightGBM's own threads wait for each other at every step of a
    # tree. LambdaMART takes longest, so it begins first.
    slowest_first = sorted(_OBJECTIVES, key=lambda name: name != LAMBDAMART)
    jobs = [(name, number) for name in slowest_first for number in range(members.get(name, 1))]
    beside = min(threads, len(jobs))
    parameters = {
        "learning_rate": 0.05,
        "num_leaves": _SMALL_LOG_LEAVES if _is_small(rows) else _LEAVES,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads // beside,
        "seed": seed,
        "verbose": -1,
    }
    count = len(features)
    data = filled(lgb.Dataset(features, feature_name=list(rows.names), params=parameters))
    del features  # only their bins are read from here on

    def fitted(name: str, member: int) -> lgb.Booster:
        # A data set has one target, so each model has a copy of the bins.
        own = data.subset(range(count)).construct()
        if name == LAMBDAMART:
            own.set_group(group[group > 0])
        own.set_label((rows.amount if name == REGRESSOR else rows.liked.astype(np.float32))[chosen])
        own_parameters = {**parameters, **_OBJECTIVES[name], "seed": (seed + member) % _SEEDS}
        return lgb.train(own_parameters, own, _TREES, callbacks=[lambda _: advance()])

    with (
        progress("next day", total=_TREES * len(jobs)) as advance,
        ThreadPoolExecutor(beside) as pool,
    ):
        found = list(pool.map(fitted, *zip(*jobs, strict=True)))
    return {
        name: averaged([model for (of, _), model in zip(jobs, found, strict=True) if of == name])
        for name in _OBJECTIVES
    }
