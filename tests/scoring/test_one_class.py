"""Logs whose plays are all liked, or none of them: what `train` says, and what the lists are filtered by."""

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from tests.conftest import Nightreel
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

SETTINGS = (
    "ranker.lightgbm.num_iterations = 10\nranker.lightgbm.early_stopping_round = 10\n"
    "ranker.lightgbm.min_data_in_leaf = 20\n"
    "retrieval.source_k = 8\nretrieval.sources = 'als,item_knn,recent_2d'\n"
    "lists.top_k = 6\nranker.filter_k = 12\n"
)
LOG = make_log(5, users=60, videos=120, plays=6_000)


def _home(folder: Path, patch: pytest.MonkeyPatch, ratio: pl.Expr, objective: str) -> Settings:
    """A home of the log with other watch ratios."""
    plays = LOG.interactions.with_columns(ratio.cast(pl.Float32).alias(columns.WATCH_RATIO))
    more = SETTINGS + f'ranker.objective = "{objective}"\n'
    return make_feature_home(folder, LOG.with_interactions(plays), patch, more_settings=more)


def _published(settings: Settings) -> pl.DataFrame:
    with sqlite3.connect(settings.paths.sqlite) as connection:
        rows = pl.read_database("SELECT * FROM latest_recommendation", connection)
    return rows.filter(pl.col("source") == "hybrid")


def _trained(settings: Settings) -> dict[str, object]:
    champion = json.loads((settings.paths.models / "champion.json").read_text(encoding="utf-8"))
    folder = settings.paths.models / str(champion["version"])
    manifest: dict[str, object] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest


def test_a_refusal_speaks_of_the_plays_that_are_fitted(
    tmp_path: Path, nightreel: Nightreel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Later ones may be liked: they are held out."""
    last = LOG.interactions[columns.EVENT_TIMESTAMP].max()
    ratio = pl.when(pl.col(columns.EVENT_TIMESTAMP) == pl.lit(last)).then(4.0).otherwise(0.5)
    home = _home(tmp_path / "home", monkeypatch, ratio, "shown").home
    done = nightreel("train", home=home)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    said = re.search(r"of the (\d+) plays that models are fitted on 0.000% are liked", done.stderr)
    assert said is not None and int(said[1]) < LOG.interactions.height, done.stderr
    assert "0.5 in all of these" in done.stderr


CAPPED = pl.min_horizontal(columns.WATCH_RATIO, 1.0)


@pytest.mark.parametrize(
    ("ratio", "threshold", "share"),
    [
        (CAPPED, "1", "0.000%"),
        pytest.param(pl.col(columns.WATCH_RATIO), "500", "0.000%", marks=pytest.mark.slow),
        (pl.col(columns.WATCH_RATIO) + 2, "1", "100.000%"),
    ],
    ids=["an exporter caps the ratio", "a threshold out of reach", "every play is liked"],
)
def test_without_two_classes_train_says_so_and_the_filter_follows_what_is_watched(
    ratio: pl.Expr,
    threshold: str,
    share: str,
    tmp_path: Path,
    nightreel: Nightreel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = _home(tmp_path / "home", monkeypatch, ratio, "shown")
    trained = nightreel(
        "train", home=settings.home, NIGHTREEL_DATA_TARGETS=f'{{"like_threshold": {threshold}}}'
    )
    assert trained.returncode == 0, trained.stderr
    said = trained.stdout + trained.stderr
    assert f"liked plays are {share}" in said and f"like_threshold = {threshold}" in said
    assert _trained(settings)["classifier_learns"] == "amount"
    scored = nightreel(
        "score", home=settings.home, NIGHTREEL_DATA_TARGETS=f'{{"like_threshold": {threshold}}}'
    )
    assert scored.returncode == 0, scored.stderr
    rows = _published(settings)
    assert rows["classifier_score"].n_unique() > 20
    # If all scores were equal, lists would have the lowest ids.
    assert rows["video_id"].max() > 0.8 * LOG.video_captions[columns.VIDEO_ID].max()


@pytest.fixture(scope="module")
def all_alike(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of a log of likes alone: watch_ratio is 2 in every play."""
    with pytest.MonkeyPatch.context() as patch:
        yield _home(tmp_path_factory.mktemp("alike") / "home", patch, pl.lit(2.0), "auto")


@pytest.mark.parametrize(
    ("objective", "threshold", "share", "remedy"),
    [
        ("shown", "1", "100.000%", "Set [ranker] objective = next_day"),
        ("auto", "3", "0.000%", "Set [data.targets] like_threshold below 2"),
        ("next_day", "3", "0.000%", "Set [data.targets] like_threshold below 2"),
    ],
)
def test_where_nothing_can_be_learnt_train_refuses_with_the_share_and_the_remedy(
    objective: str, threshold: str, share: str, remedy: str, all_alike: Settings, nightreel: Nightreel
) -> None:
    done = nightreel(
        "train",
        home=all_alike.home,
        NIGHTREEL_DATA_TARGETS=f'{{"like_threshold": {threshold}}}',
        NIGHTREEL_RANKER_OBJECTIVE=objective,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    refused = done.stderr.splitlines()[-1]
    assert share in refused and remedy in refused and "watch_ratio is 2 in all" in refused
    assert not (all_alike.paths.models / "champion.json").exists()


def test_a_log_of_likes_alone_learns_from_what_is_not_played(
    all_alike: Settings, nightreel: Nightreel
) -> None:
    """Also beside a fully observed table, which asks the question that such a log has no answer to."""
    users, videos = (LOG.interactions.select(key).unique() for key in (columns.USER_ID, columns.VIDEO_ID))
    observed = users.head(5).join(videos.head(9), how="cross")
    observed.with_columns(
        pl.lit(2.0, pl.Float32).alias(columns.WATCH_RATIO),
        pl.lit(10_000).alias(columns.VIDEO_DURATION),
    ).write_parquet(all_alike.paths.table("fully_observed"))
    for step in ("train", "score"):
        done = nightreel(step, home=all_alike.home)
        assert done.returncode == 0, done.stderr
    assert _trained(all_alike)["objective"] == "next_day"
    assert _published(all_alike)["classifier_score"].n_unique() > 20
