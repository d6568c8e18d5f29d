"""What are the original work's figures made of: how much is leakage, how much is definition?

Its models are fitted three times on the same plays with the same parameters. `as-published`: ALS has seen the
plays that it scores, and counts and averages are those of the whole period. `as-published, averages as of
then`: features as they were known, but ALS as before. `as-published, no leak`: our ALS too. What is left
between the last and the first is leakage; what is left between `ndcg_own_list` and `ndcg` is definition.
What the original published, and what this said: docs/decisions/original-protocol.md.

    python benchmarks/as_published.py HOME     a home with a fully observed matrix and features
    python benchmarks/as_published.py HOME --plays 200000 --trees 1000
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import lightgbm as lgb
import numpy as np
import polars as pl
from feast import FeatureStore
from scipy import sparse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.catalogue import catalogue_of
from nightreel.core.catalogue.formulas import hour_and_weekday
from nightreel.core.printing import print_table
from nightreel.core.settings import Settings, load_settings
from pipelines.evaluate.figures import ALL, CUTOFFS, Figure
from pipelines.evaluate.protocols import Pairs, kuairec_pairs
from pipelines.hashing import uniform_hash
from pipelines.labels import RATIO
from pipelines.local_days import INSTANT
from pipelines.metrics import (
    Bootstrap,
    Order,
    Outcome,
    RankedLists,
    auc,
    average_precision_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from pipelines.rankers import FeatureEncoding, hybrid_scores
from pipelines.rankers.matrix import FeatureMatrix
from pipelines.training_frame import FeatureFrame

AS_PUBLISHED = "as-published"
AVERAGES_AS_OF = "as-published, averages as of then"
NO_LEAK = "as-published, no leak"

_FACTORS, _ALS_REGULARIZATION, _ALS_ITERATIONS = 64, 0.1, 20
_CLIP_PERCENTILE, _CLIP_BELOW = 99, 10.0
_LIKED_ABOVE = 1.0
_STOP_AFTER, _VALIDATION_SHARE = 100, 0.15
_PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.03,
    "num_leaves": 41,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l1": 0.05,
    "lambda_l2": 0.05,
    "deterministic": True,
    "force_col_wise": True,
    "verbose": -1,
}
_MODELS = {
    "classifier": {"objective": "binary", "metric": "auc"},
    "regressor": {"objective": "regression_l1", "metric": "l1"},
}
# What the original did not have: shares and means of outcomes, yesterday's counts.
_NOT_PUBLISHED = {
    columns.USER_AGG_LIKED_SHARE,
    columns.USER_AGG_WATCH_RATIO,
    columns.USER_AGG_PLAY_DURATION,
    columns.VIDEO_AGG_LIKED_SHARE,
    columns.VIDEO_AGG_WATCH_RATIO,
    columns.VIDEO_AGG_PLAY_DURATION,
    *columns.LAST_DAY_COUNTS,
}
_ROW = "row"
_BLOCK_ROWS = 65_536
_PAIRS_A_PLAY = 20  # at most so many pairs are ranked for each play that is fitted on


def own_list_ndcg_at_k(ranked: RankedLists, k: int) -> np.ndarray:
    """DCG@k over the DCG of the best order of the system's own first k: float64 [users].

    As the original work on KuaiRec computed it; no measure of quality: a bad list in the right order gets 1,
    and a list without gain 0.
    """
    own = -np.sort(-ranked.gains_of_first(k), axis=1)
    best = (own / np.log2(np.arange(own.shape[1]) + 2.0)).sum(axis=1)
    reached = ranked.discounted_gains(k)
    shares: np.ndarray = np.divide(reached, best, out=np.zeros_like(reached), where=best > 0)
    return shares


_METRICS = {
    "precision": precision_at_k,
    "recall": recall_at_k,
    "map": average_precision_at_k,
    "ndcg": ndcg_at_k,
    "ndcg_own_list": own_list_ndcg_at_k,
}


@dataclass(frozen=True)
class Size:
    """How much is fitted.

    Attributes:
        plays: the most plays that are fitted on, drawn at random; the original took all.
        trees: the most trees of each model.
    """

    plays: int = 20_000
    trees: int = 60


def as_published(pairs: Pairs, store: FeatureStore, settings: Settings, size: Size) -> Iterator[list[Figure]]:
    """The figures of each of the three fits.

    Args:
        pairs: of `kuairec`.
    """
    data = _Data.of(pairs, store, settings, size.plays)
    for protocol in (AS_PUBLISHED, AVERAGES_AS_OF, NO_LEAK):
        yield _measured(protocol, data, settings, size.trees)


@dataclass(frozen=True)
class _Data:
    plays: pl.DataFrame
    pairs: pl.DataFrame
    train: dict[str, np.ndarray]  # protocol -> float32 [plays, features]
    test: dict[str, np.ndarray]  # protocol -> float32 [pairs, features]
    names: list[str]
    categorical: list[str]
    clip: float

    @classmethod
    def of(cls, pairs: Pairs, store: FeatureStore, settings: Settings, most: int) -> "_Data":
        random = np.random.default_rng(settings.seed)
        whole = pairs.history.select(columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO).collect()
        chosen = np.sort(random.choice(whole.height, min(most, whole.height), replace=False))
        # Streamed: of a long log only these plays are ever in memory with all their columns.
        plays = (
            pairs.history.with_row_index(_ROW)
            .filter(pl.col(_ROW).is_in(pl.Series(chosen, dtype=pl.get_index_type()).implode()))
            .drop(_ROW)
            .collect(engine="streaming")
        )
        share = most * _PAIRS_A_PLAY / pairs.rows.height
        users = pairs.rows[columns.USER_ID].to_numpy().astype(np.uint64)
        tested = pairs.rows.filter(pl.Series(uniform_hash(users, settings.seed + 2) < share))
        tested = tested.with_columns(_times_of_tested_watches(tested, settings))
        ratios = whole[columns.WATCH_RATIO].to_numpy()
        clip = float(np.percentile(ratios[ratios <= _CLIP_BELOW], _CLIP_PERCENTILE))
        at_the_end = pl.lit(pairs.as_of, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP)
        as_of = FeatureFrame.join(store, plays, settings.data.zone)
        seen = as_of.values(slice(None), catalogue_of(settings.data, settings.features).categorical)
        encoding = FeatureEncoding.fit(as_of.names, seen)
        used = [index for index, name in enumerate(as_of.names) if name not in _NOT_PUBLISHED]
        names = [as_of.names[index] for index in used]

        def matrix(frame: FeatureFrame) -> np.ndarray:
            return FeatureMatrix(frame, encoding)[slice(None)][:, used]

        then = matrix(as_of)
        later = matrix(FeatureFrame.join(store, plays.with_columns(at_the_end), settings.data.zone))
        test = matrix(FeatureFrame.join(store, tested.with_columns(at_the_end), settings.data.zone))
        hours = [names.index(name) for name in (columns.HOUR_OF_DAY, columns.DAY_OF_WEEK)]
        later[:, hours] = then[:, hours]
        test[:, hours] = _hours(tested[columns.EVENT_TIMESTAMP], settings)
        own, own_test = _in_sample_als(whole, (plays, tested), clip, settings)
        als = names.index(columns.ALS_SCORE)
        leaky_test = _with_column(test, als, own_test)
        return cls(
            plays,
            tested,
            {
                AS_PUBLISHED: _with_column(later, als, own),
                AVERAGES_AS_OF: _with_column(then, als, own),
                NO_LEAK: then,
            },
            {AS_PUBLISHED: leaky_test, AVERAGES_AS_OF: leaky_test, NO_LEAK: test},
            names,
            [name for name in names if name in encoding.categorical],
            clip,
        )


def _hours(instants: pl.Series, settings: Settings) -> np.ndarray:
    """Hour and weekday of the tested watch itself, -1 where its time is not known."""
    return np.column_stack(
        [
            part.fill_null(-1).to_numpy()
            for part in hour_and_weekday(instants.cast(INSTANT), settings.data.zone)
        ]
    )


def _with_column(matrix: np.ndarray, index: int, values: np.ndarray) -> np.ndarray:
    copy = matrix.copy()
    copy[:, index] = values
    return copy


def _in_sample_als(
    whole: pl.DataFrame, asked: tuple[pl.DataFrame, pl.DataFrame], clip: float, settings: Settings
) -> list[np.ndarray]:
    """Scores of an implicit ALS that has seen every play, those asked for too: float32, NaN if unknown."""
    from implicit.als import AlternatingLeastSquares

    users, user = _coded(whole[columns.USER_ID])
    videos, video = _coded(whole[columns.VIDEO_ID])
    confidence = np.clip(whole[columns.WATCH_RATIO].to_numpy(), 0.0, clip).astype(np.float32) + np.float32(1)
    log = sparse.csr_matrix((confidence, (user, video)), (len(users), len(videos)))
    with threadpool_limits(1, user_api="blas"):
        model = AlternatingLeastSquares(
            factors=_FACTORS,
            regularization=_ALS_REGULARIZATION,
            iterations=_ALS_ITERATIONS,
            random_state=settings.seed,
            num_threads=settings.threads,
        )
        model.fit(log, show_progress=False)
    return [
        np.concatenate(
            [
                np.einsum(
                    "ij,ij->i",
                    _known(users, model.user_factors, some[columns.USER_ID].to_numpy()),
                    _known(videos, model.item_factors, some[columns.VIDEO_ID].to_numpy()),
                )
                for some in rows.iter_slices(_BLOCK_ROWS)
            ]
        )
        for rows in asked
    ]


def _coded(keys: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and the position of each among them, int32."""
    ids = keys.unique().sort()
    return ids.to_numpy(), ids.search_sorted(keys).cast(pl.Int32).to_numpy()


def _known(ids: np.ndarray, factors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    positions = np.minimum(np.searchsorted(ids, asked), len(ids) - 1)
    return np.where((ids[positions] == asked)[:, None], factors[positions], np.float32(np.nan))


def _measured(protocol: str, data: _Data, settings: Settings, trees: int) -> list[Figure]:
    ratios = data.plays[columns.WATCH_RATIO].to_numpy()
    labels = {
        "classifier": (ratios > _LIKED_ABOVE).astype(np.float32),
        "regressor": np.clip(ratios, 0.0, data.clip).astype(np.float32),
    }
    shuffled = np.random.default_rng(settings.seed).permutation(len(ratios))
    cut = int(len(ratios) * _VALIDATION_SHARE)
    fit, validation = shuffled[cut:], shuffled[:cut]

    def fitted(system: str) -> lgb.Booster:
        parts = [
            lgb.Dataset(
                data.train[protocol][rows],
                labels[system][rows],
                feature_name=data.names,
                categorical_feature=data.categorical,
                free_raw_data=True,
            )
            for rows in (fit, validation)
        ]
        parts[1].reference = parts[0]
        threads = max(settings.threads // len(_MODELS), 1)
        return lgb.train(
            {**_PARAMETERS, **_MODELS[system], "num_threads": threads, "seed": settings.seed},
            parts[0],
            trees,
            valid_sets=[parts[1]],
            callbacks=[lgb.early_stopping(_STOP_AFTER, verbose=False)],
        )

    with ThreadPoolExecutor(len(_MODELS)) as pool:
        boosters = dict(zip(_MODELS, pool.map(fitted, _MODELS), strict=True))
    scores = {
        system: booster.predict(data.test[protocol], num_threads=settings.threads)
        for system, booster in boosters.items()
    }
    figures = list(_ranked(protocol, data, scores, settings))
    own = boosters["classifier"].predict(data.train[protocol][validation], num_threads=settings.threads)
    area = auc(own, labels["classifier"][validation] > 0)
    if area is not None:
        figures.append(
            Figure(protocol, RATIO, "classifier", "validation_auc", None, ALL, area, None, None, cut)
        )
    return figures


def _ranked(
    protocol: str, data: _Data, scores: dict[str, np.ndarray], settings: Settings
) -> Iterator[Figure]:
    """Lists of both models, and the hybrid: at each k the classifier's first k, ordered by the regressor."""
    user, video, ratio = (
        data.pairs[name].to_numpy() for name in (columns.USER_ID, columns.VIDEO_ID, columns.WATCH_RATIO)
    )
    liked = ratio > _LIKED_ABOVE
    gains = np.where(liked, np.clip(ratio, 0.0, data.clip), 0.0)
    outcome = Outcome.of(user, liked, gains, CUTOFFS[-1])
    users = int((outcome.relevant_counts > 0).sum())
    if not users:
        return
    bootstrap = Bootstrap.of(users, seed=settings.seed)
    catalogue = data.pairs[columns.VIDEO_ID].n_unique()

    def hybrid(k: int) -> RankedLists:
        both = hybrid_scores(
            user,
            video,
            scores["classifier"],
            scores["regressor"],
            filter_k=k,
            catalogue=max(catalogue, k),
        )
        return RankedLists.ordered(Order.of(user, video, both), outcome)

    whole = {
        # A filter that keeps nothing leaves the order of the classifier, and ties as the hybrid decides them.
        "classifier": hybrid(0),
        "regressor": RankedLists.ordered(Order.of(user, video, scores["regressor"]), outcome),
    }
    for system in (*whole, "hybrid"):
        keys, values = [], []
        for k in CUTOFFS:
            lists = hybrid(k) if system == "hybrid" else whole[system]
            for metric, of in _METRICS.items():
                keys.append((metric, k))
                values.append(of(lists, k))
        table = np.column_stack(values)
        intervals = bootstrap.intervals(table).T.tolist()
        for (metric, k), mean, (low, high) in zip(keys, table.mean(axis=0).tolist(), intervals, strict=True):
            yield Figure(protocol, RATIO, system, metric, k, ALL, mean, low, high, users)


def _times_of_tested_watches(rows: pl.DataFrame, settings: Settings) -> pl.Series:
    """When these pairs of `kuairec` were watched, null where that is not known.

    Args:
        rows: user_id, video_id, each pair once.

    Returns:
        event_timestamp in their order.
    """
    keys = [columns.USER_ID, columns.VIDEO_ID]
    own = rows.lazy().select(keys)
    times = (
        pl.scan_parquet(settings.paths.table("fully_observed"))
        .select(*keys, pl.col(columns.EVENT_TIMESTAMP).cast(INSTANT))
        .filter(pl.col(columns.USER_ID).is_in(rows[columns.USER_ID].unique().implode()))
        .unique(keys, keep="first", maintain_order=True)
    )
    joined = own.join(times, on=keys, how="left", maintain_order="left").collect()
    return joined[columns.EVENT_TIMESTAMP]


def rows_of(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """A row for each fit and system: its figures at 10, and its AUC on its own random 15 % of the plays."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for figure in figures:
        key = (figure.protocol, figure.system)
        row = rows.setdefault(key, {"fit": figure.protocol, "system": figure.system})
        if figure.k == CUTOFFS[0]:
            row[f"{figure.metric}@{figure.k}"] = figure.value
        elif figure.k is None:
            row[figure.metric] = figure.value
    return list(rows.values())


def main() -> None:
    """Fit three times on the plays of a home; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="a home with features and small_matrix")
    parser.add_argument("--plays", type=int, default=Size.plays, help="most plays to fit on (20000)")
    parser.add_argument("--trees", type=int, default=Size.trees, help="most trees of each model (60)")
    chosen = parser.parse_args()
    os.environ["NIGHTREEL_HOME"] = str(chosen.home.resolve())
    settings = load_settings()
    size = Size(chosen.plays, chosen.trees)
    found = as_published(kuairec_pairs(settings), open_store(), settings, size)
    print_table(rows_of([figure for own in found for figure in own]))


if __name__ == "__main__":
    main()
