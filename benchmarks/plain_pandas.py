"""The usual way, as the thing to beat: everything merged into one wide dataframe, then fitted and predicted.

A plain script after shared/kuairec/published.md: whole-period averages, ALS that has seen what it scores, a
random validation split, two LightGBM models of up to 1,000 trees. It reads raw CSV files and writes, for each
pair of small_matrix, the scores of its three systems. It does not get the hour of the tested play: it would
not be known when a list is made.

    python benchmarks/plain_pandas.py RAW_FOLDER OUT.parquet
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import lightgbm as lgb
import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

FACTORS, TEXT_WORDS, THREADS, SEED = 64, 50, 2, 42
RATIO_SANE = 10.0
FILTER_K = 500
USER_COLUMNS = [
    *("user_active_degree", "follow_user_num_range", "fans_user_num_range", "friend_user_num_range"),
    *("register_days_range", *(f"onehot_feat{i}" for i in range(18))),
]
CATEGORIES = ["first_level_category_id", "second_level_category_id", "third_level_category_id"]
COUNTS = ["show_cnt", "play_cnt", "like_cnt", "comment_cnt", "share_cnt", "collect_cnt"]
PARAMETERS = {
    "n_estimators": 1000,
    "learning_rate": 0.03,
    "num_leaves": 41,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "reg_alpha": 0.05,
    "reg_lambda": 0.05,
    "n_jobs": THREADS,
    "random_state": SEED,
    "verbose": -1,
}


def _positions(keys: "pd.Index[Any]", of: "pd.Series[Any]") -> np.ndarray:
    positions: np.ndarray = keys.get_indexer(pd.Index(of))
    return positions


def als_scores(big: pd.DataFrame, small: pd.DataFrame, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """Implicit ALS on all of big, scoring its own plays and those of small."""
    users = pd.Index(big["user_id"].unique())
    videos = pd.Index(big["video_id"].unique())
    confidence = big["watch_ratio"].clip(upper=clip) + 1
    matrix = csr_matrix(
        (confidence, (_positions(users, big["user_id"]), _positions(videos, big["video_id"]))),
        shape=(len(users), len(videos)),
    )
    model = AlternatingLeastSquares(
        factors=FACTORS, regularization=0.1, iterations=20, random_state=SEED, num_threads=THREADS
    )
    model.fit(matrix, show_progress=False)

    def scores(frame: pd.DataFrame) -> np.ndarray:
        user, video = _positions(users, frame["user_id"]), _positions(videos, frame["video_id"])
        found = (model.user_factors[user] * model.item_factors[video]).sum(axis=1)
        return np.where((user >= 0) & (video >= 0), found, 0.0)

    return scores(big), scores(small)


def side_tables(raw: Path, big: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a user and one a video, with all their columns."""
    users = pd.read_csv(raw / "user_features.csv")[["user_id", *USER_COLUMNS]]
    by_user = big.groupby("user_id")["video_id"].agg(
        user_agg_interactions="count", user_agg_unique_videos="nunique"
    )
    users = users.merge(by_user.reset_index(), on="user_id", how="left")
    captions = pd.read_csv(raw / "kuairec_caption_category.csv", lineterminator="\n")
    text = captions[["manual_cover_text", "caption", "topic_tag"]].fillna("").agg(" ".join, axis=1)
    words = TfidfVectorizer(max_features=TEXT_WORDS).fit_transform(text).toarray()
    videos = captions[["video_id", *CATEGORIES]].join(
        pd.DataFrame(words, columns=[f"tfidf_{i}" for i in range(words.shape[1])])
    )
    daily = pd.read_csv(raw / "item_daily_features.csv")
    averages = daily.groupby("video_id")[COUNTS].mean().add_prefix("avg_daily_")
    fixed = daily.groupby("video_id")[["author_id", "video_duration"]].first()
    by_video = big.groupby("video_id")["user_id"].agg(
        video_agg_views="count", video_agg_unique_users="nunique"
    )
    for table in (averages, fixed, by_video):
        videos = videos.merge(table.reset_index(), on="video_id", how="left")
    return users, videos


def wide(frame: pd.DataFrame, users: pd.DataFrame, videos: pd.DataFrame) -> pd.DataFrame:
    """Everything merged into one dataframe."""
    frame = frame.drop(columns="video_duration").merge(users, on="user_id", how="left")
    frame = frame.merge(videos, on="video_id", how="left")
    for name in [*USER_COLUMNS, *CATEGORIES, "author_id"]:
        frame[name] = frame[name].astype("category")
    return frame


def main() -> None:
    """Fit on big_matrix and write each system's scores of small_matrix."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder with KuaiRec's CSV files")
    parser.add_argument("out", type=Path, help="parquet file to write")
    arguments = parser.parse_args()
    raw, out = arguments.raw, arguments.out
    big = pd.read_csv(raw / "big_matrix.csv")
    small = pd.read_csv(raw / "small_matrix.csv")
    clip = big.loc[big["watch_ratio"] <= RATIO_SANE, "watch_ratio"].quantile(0.99)
    big["als_score"], small["als_score"] = als_scores(big, small, clip)
    users, videos = side_tables(raw, big)
    times = pd.to_datetime(big["time"], format="mixed")
    big["hour_of_day"], big["day_of_week"] = times.dt.hour, times.dt.dayofweek
    small["hour_of_day"], small["day_of_week"] = -1, -1
    train, test = wide(big, users, videos), wide(small, users, videos)
    for name in train.select_dtypes("category"):
        test[name] = test[name].cat.set_categories(train[name].cat.categories)
    dropped = {"user_id", "video_id", "play_duration", "time", "date", "timestamp", "watch_ratio"}
    features = [name for name in train if name not in dropped]
    fit, validation = train_test_split(train, test_size=0.15, random_state=SEED)
    stopping = [lgb.early_stopping(100, verbose=False)]
    classifier = lgb.LGBMClassifier(objective="binary", metric="auc", **PARAMETERS)
    classifier.fit(
        fit[features],
        fit["watch_ratio"] > 1.0,
        eval_set=[(validation[features], validation["watch_ratio"] > 1.0)],
        callbacks=stopping,
    )
    regressor = lgb.LGBMRegressor(objective="regression_l1", metric="mae", **PARAMETERS)
    regressor.fit(
        fit[features],
        fit["watch_ratio"].clip(upper=clip),
        eval_set=[(validation[features], validation["watch_ratio"].clip(upper=clip))],
        callbacks=stopping,
    )
    scores = small[["user_id", "video_id", "watch_ratio"]].copy()
    scores["classifier"] = classifier.predict_proba(test[features])[:, 1]
    scores["regressor"] = regressor.predict(test[features])
    rank = scores.groupby("user_id")["classifier"].rank(ascending=False, method="first")
    # Kept by the classifier: in the regressor's order, before all others.
    lowest = scores["regressor"].min()
    scores["hybrid"] = np.where(rank <= FILTER_K, scores["regressor"], lowest - rank)
    scores.to_parquet(out)


if __name__ == "__main__":
    main()
