"""The peers: RecTools' models, implicit's BPR and popularity by day, each giving lists from the same past.

Runs in the environment of `make peers`: RecTools wants a NumPy and a fork of implicit of its own.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, TFIDFRecommender
from lightgbm import LGBMClassifier
from rectools import Columns
from rectools.dataset import Dataset
from rectools.model_selection import LastNSplitter, TimeRangeSplitter
from rectools.models import (
    EASEModel,
    ImplicitALSWrapperModel,
    ImplicitBPRWrapperModel,
    ImplicitItemKNNWrapperModel,
    PopularModel,
    PureSVDModel,
)
from rectools.models.base import ModelBase
from rectools.models.ranking import (
    CandidateFeatureCollector,
    CandidateGenerator,
    CandidateRankingModel,
    PerUserNegativeSampler,
    Reranker,
)

DEPTH = 100
POPULAR_DAYS = (1, 3, 7)
DAYS_OF = {f"popularity, {days} d": days for days in POPULAR_DAYS}
FALLBACK_DAYS = 3


def als(factors: int) -> ModelBase:
    """The ALS of implicit."""
    model = AlternatingLeastSquares(
        factors=factors, regularization=10, alpha=10, iterations=15, random_state=0, num_threads=1
    )
    return ImplicitALSWrapperModel(model)


def bpr() -> ModelBase:
    """The BPR of implicit with its defaults, but 20 epochs; on one thread, or it is not deterministic."""
    return ImplicitBPRWrapperModel(BayesianPersonalizedRanking(iterations=20, random_state=0, num_threads=1))


def knn(kind: type) -> ModelBase:
    """The item neighbours of implicit."""
    return ImplicitItemKNNWrapperModel(kind(K=100, num_threads=1))


class Counts(CandidateFeatureCollector):
    """Liked plays of the user, and of the video in all and in the last days, before the fold's targets."""

    def _get_user_features(self, users, dataset, fold_info):  # noqa: ARG002
        plays = dataset.get_raw_interactions()[Columns.User].value_counts()
        return pd.DataFrame({Columns.User: users, "user_liked": plays.reindex(users).fillna(0).to_numpy()})

    def _get_item_features(self, items, dataset, fold_info):  # noqa: ARG002
        past = dataset.get_raw_interactions()
        day = past[Columns.Datetime].dt.normalize()
        found = {
            Columns.Item: items,
            "liked": past[Columns.Item].value_counts().reindex(items).fillna(0).to_numpy(),
        }
        for days in POPULAR_DAYS:
            last = past[day > day.max() - pd.Timedelta(days=days)]
            found[f"liked_{days}"] = last[Columns.Item].value_counts().reindex(items).fillna(0).to_numpy()
        return pd.DataFrame(found)


def two_stage(*, by_day: bool) -> ModelBase:
    """RecTools' CandidateRankingModel: four sources, LightGBM on the last day or last ten plays."""
    generators = {
        PopularModel(period=pd.Timedelta(days=3).to_pytimedelta() if by_day else None): 200,
        als(64): 100,
        EASEModel(regularization=300): 100,
        knn(BM25Recommender): 100,
    }
    return CandidateRankingModel(
        [CandidateGenerator(model, n, keep_ranks=True, keep_scores=True) for model, n in generators.items()],
        splitter=TimeRangeSplitter("1D") if by_day else LastNSplitter(10),
        sampler=PerUserNegativeSampler(n_negatives=50, random_state=0),
        feature_collector=Counts(),
        reranker=Reranker(
            LGBMClassifier(
                n_estimators=150,
                learning_rate=0.05,
                num_leaves=31,
                min_child_samples=100,
                colsample_bytree=0.7,
                random_state=0,
                verbose=-1,
            )
        ),
    )


def sasrec(*, by_day: bool) -> ModelBase:
    """RecTools' SASRec; PyTorch is imported only where it is asked for."""
    from benchmarks.peer_sasrec import stopped_sasrec

    return stopped_sasrec(by_day=by_day)


def models(*, by_day: bool) -> dict[str, Callable[[], ModelBase]]:
    """The RecTools models by the name that tables show. by_day: the log is a feed."""
    return {
        "popularity": PopularModel,
        "ALS 32": partial(als, 32),
        "ALS 64": partial(als, 64),
        "BPR": bpr,
        "EASE": partial(EASEModel, regularization=300),
        "kNN TF-IDF": partial(knn, TFIDFRecommender),
        "kNN BM25": partial(knn, BM25Recommender),
        "PureSVD 32": partial(PureSVDModel, factors=32),
        "SASRec": partial(sasrec, by_day=by_day),
        "two stages": partial(two_stage, by_day=by_day),
    }


def names(*, by_day: bool) -> list[str]:
    """All peers of a log."""
    return [*models(by_day=by_day), *(DAYS_OF if by_day else ())]


def peer_lists(name: str, plays: pd.DataFrame, users: np.ndarray, *, by_day: bool) -> pd.DataFrame:
    """Lists (user_id, video_id, rank) of a peer that knows `plays` only, without what a user has played.

    Args:
        plays: user_id, video_id, timestamp (s), date, liked; the models learn from the liked ones.
        users: who gets a list; one who is unknown to a model has the one list for all.
    """
    if name in DAYS_OF:
        return one_list_for_all(most_liked(plays, DAYS_OF[name]), plays, users)
    liked = plays[plays.liked].drop_duplicates(["user_id", "video_id"], keep="last")
    data = Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: liked.user_id,
                Columns.Item: liked.video_id,
                Columns.Weight: 1.0,
                Columns.Datetime: pd.to_datetime(liked.timestamp + 8 * 3600, unit="s"),
            }
        )
    )
    known = np.intersect1d(users, liked.user_id)
    others = plays[plays.user_id.isin(known) & ~plays.liked].drop_duplicates(["user_id", "video_id"])
    spare = int(others.user_id.value_counts().max()) if len(others) else 0
    model = models(by_day=by_day)[name]()
    model.fit(data)
    # SASRec passes over users with too few plays.
    lists = model.recommend(
        users=known, dataset=data, k=DEPTH + spare, filter_viewed=True, on_unsupported_targets="ignore"
    )
    lists = lists.rename(columns={Columns.Item: "video_id"})[["user_id", "video_id", "rank"]]
    return with_unknown_users(_without_played(lists, plays), plays, users, by_day=by_day)


def with_unknown_users(
    lists: pd.DataFrame, plays: pd.DataFrame, users: np.ndarray, *, by_day: bool
) -> pd.DataFrame:
    """The lists of a model, and the one list for all for users whom it does not know."""
    unknown = np.setdiff1d(users, lists.user_id)
    if not len(unknown):
        return lists
    order = most_liked(plays, FALLBACK_DAYS if by_day else None)
    return pd.concat([lists, one_list_for_all(order, plays, unknown)], ignore_index=True)


def most_liked(plays: pd.DataFrame, days: int | None) -> np.ndarray:
    """Videos by the liked plays of the last so many days, or of all days; ties as first liked."""
    last = sorted(plays.date.unique())[-days:] if days else plays.date
    counts = plays[plays.date.isin(last) & plays.liked].video_id.value_counts(sort=False)
    return counts.sort_values(ascending=False, kind="stable").index.to_numpy()


def one_list_for_all(order: np.ndarray, plays: pd.DataFrame, users: np.ndarray) -> pd.DataFrame:
    """`order` for each user, less what the user has played."""
    played = plays[plays.user_id.isin(users)].groupby("user_id").video_id.agg(set)
    parts = []
    for user in users:
        mine = played.get(user, frozenset())
        left = [video for video in order[: DEPTH + len(mine)] if video not in mine][:DEPTH]
        parts.append(pd.DataFrame({"user_id": user, "video_id": left, "rank": range(1, len(left) + 1)}))
    return pd.concat(parts, ignore_index=True)


def _without_played(lists: pd.DataFrame, plays: pd.DataFrame) -> pd.DataFrame:
    played = plays[["user_id", "video_id"]].drop_duplicates()
    left = lists.merge(played, on=["user_id", "video_id"], how="left", indicator="also")
    left = left[left.pop("also") == "left_only"].sort_values(["user_id", "rank"], kind="stable")
    left["rank"] = left.groupby("user_id").cumcount() + 1
    return left[left["rank"] <= DEPTH].reset_index(drop=True)
