"""What is evaluated is what is published, also where filter_k is smaller than a list."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.rankers import train
from scoring.lists.eligibility import default_as_of, find_candidates
from tests.conftest import Nightreel
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.scored_home import FEW_TREES
from tests.fixtures.small_log import make_log

LOG = make_log(11, users=30, videos=60, plays=3_000)
SHORT_FILTER = (
    FEW_TREES + "lists.top_k = 12\nranker.filter_k = 3\nlists.exclude.seen = false\n"
    "evaluation.tuning_share = 0\n"
)


def _published(settings: Settings) -> pl.DataFrame:
    with sqlite3.connect(settings.paths.sqlite) as connection:
        rows = pl.read_database("SELECT user_id, rank, video_id FROM latest_recommendation", connection)
    return rows.sort("user_id", "rank")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, nightreel: Nightreel) -> Iterator[Settings]:
    """A home whose fully observed table holds all that may be listed."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("short-filter") / "home", LOG, patch, more_settings=SHORT_FILTER
        )
        train(settings)
        listable = find_candidates(
            settings, open_store(), default_as_of(settings.paths, settings.data, datetime.now(UTC))
        )
        played = LOG.interactions[columns.USER_ID].unique()
        every = pl.DataFrame({columns.VIDEO_ID: listable.video_id}).join(played.to_frame(), how="cross")
        ratio = np.random.default_rng(3).gamma(1.2, 0.7, len(every)).astype(np.float32)
        every.with_columns(
            pl.Series(columns.WATCH_RATIO, ratio),
            pl.lit(9_000, pl.Int32).alias(columns.VIDEO_DURATION),
            pl.lit(None, pl.Datetime("us", "UTC")).alias(columns.EVENT_TIMESTAMP),
        ).write_parquet(settings.paths.table("fully_observed"))
        for step in ("score", "evaluate"):
            done = nightreel(step, home=settings.home)
            assert done.returncode == 0, done.stderr
        yield settings


def test_the_figures_of_the_hybrid_are_those_of_the_published_lists(home: Settings) -> None:
    lists = _published(home)
    assert lists["rank"].max() == home.lists.top_k > home.ranker.filter_k
    observed = pl.read_parquet(home.paths.table("fully_observed"))
    liked = observed.with_columns(liked=pl.col(columns.WATCH_RATIO) > home.data.targets.like_threshold)
    judged = lists.join(liked, on=[columns.USER_ID, columns.VIDEO_ID], maintain_order="left")
    top = judged.filter(pl.col("rank") <= 10)
    discount = pl.col("liked") / (pl.col("rank") + 1).log(2)
    by_user = top.group_by(columns.USER_ID).agg(precision=pl.col("liked").mean(), gain=discount.sum())
    best = liked.group_by(columns.USER_ID).agg(pl.col("liked").sum().clip(upper_bound=10).alias("hits"))
    ideal = np.cumsum(1 / np.log2(np.arange(2, 12)))
    by_user = by_user.join(best, on=columns.USER_ID)
    ndcg = by_user["gain"].to_numpy() / ideal[by_user["hits"].to_numpy() - 1]
    records = json.loads((home.paths.evaluation / "metrics.json").read_text("utf-8"))
    figures = {
        record["metric"]: record["value"]
        for record in records
        if (record["protocol"], record["system"], record["k"], record["label"], record["slice"])
        == ("kuairec", "hybrid", 10, "ratio", "all")
    }
    assert figures["precision"] == pytest.approx(by_user["precision"].mean(), abs=1e-9)
    assert figures["ndcg"] == pytest.approx(ndcg.mean(), abs=1e-9)
