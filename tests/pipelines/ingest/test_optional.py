"""Nothing fails for lack of an optional file: what is missing is derived from the plays, or unknown."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from feature_repo.open_store import apply_definitions
from nightreel.core import columns
from nightreel.core.settings import load_settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.ingest.merging import Known
from pipelines.ingest.output import superseded_path
from pipelines.rankers import train
from scoring.database.publish import score_and_publish
from scoring.database.show import user_list
from tests.fixtures.synthetic_home import make_synthetic_home
from tests.pipelines.ingest.conftest import Ingested

BIG, SIDE = (
    columns.BIG_MATRIX_FILE,
    (
        columns.USER_FEATURES_FILE,
        columns.ITEM_DAILY_FILE,
        columns.CAPTION_FILE,
        columns.SMALL_MATRIX_FILE,
        columns.ITEM_CATEGORIES_FILE,
        columns.SOCIAL_NETWORK_FILE,
    ),
)
SETTINGS = (
    "features.als.factors = 4\nthreads = 1\nranker.lightgbm.num_iterations = 5\nlists.top_k = 5\n"
    # Each source that asks who a video is by and what it is about, which is in the files that are not there.
    'ranker.objective = "next_day"\nretrieval.sources = "recent_2d,als,fresh,same_author,same_category"\n'
)


def test_plays_alone_are_enough(ingested: Ingested) -> None:
    for name in SIDE:
        del ingested.raw.files[name]
    settings = ingested.settings()
    ingested.raw.write(settings.data.raw_dir)
    said = {one["file"]: one["so"] for one in ingest(settings).summary["not_there"]}
    assert set(said) == set(SIDE)
    assert "counted from the plays" in said[columns.ITEM_DAILY_FILE]
    assert ingested.table("users")["user_id"].to_list() == [14, 15, 16]
    assert ingested.table("video_captions")["video_id"].to_list() == [148, 183]
    daily = ingested.table("video_daily")
    assert daily["video_id", "date", "play_cnt", "show_cnt", "like_cnt"].rows() == [
        (148, date(2020, 7, 5), 2, 2, None),
        (148, date(2020, 7, 6), 1, 1, None),
        (183, date(2020, 7, 5), 1, 1, None),
    ]


def test_daily_counts_of_a_replay_are_those_that_were_known(ingested: Ingested) -> None:
    """A delivery adds a play to a day: before its arrival the day has one play fewer."""
    for name in SIDE:
        del ingested.raw.files[name]
    settings = ingested.run()
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir()
    before = datetime.now(UTC)
    late = ingested.raw.files[BIG].splitlines()[1].replace("14,", "99,", 1)
    (incoming / "big_matrix_2.csv").write_text(f"{ingested.raw.files[BIG].splitlines()[0]}\n{late}\n")
    merge_deliveries(settings)
    ingest(settings)
    superseded = pl.read_parquet(superseded_path(settings.paths.tables, "video_daily"))
    known = Known(ingested.table("video_daily"), superseded)
    key = ("video_id", "date")
    assert known.table["play_cnt"].to_list() == [3, 1, 1]
    assert known.at(before, key).table["play_cnt"].to_list() == [2, 1, 1]
    assert known.at(before + timedelta(days=1), key).table.equals(known.table)
    assert ingested.table("users").filter(user_id=99)["created_timestamp"][0] > before


def test_a_watch_ratio_that_is_missing_is_play_over_length(ingested: Ingested) -> None:
    ingested.run()
    expected = ingested.table("interactions")
    ingested.raw.spoil(BIG, "watch_ratio", "other")
    said = ingest(ingested.run()).summary
    found = ingested.table("interactions")
    assert found["watch_ratio"].to_list() == pytest.approx(expected["watch_ratio"].to_list(), abs=1e-6)
    assert "watch_ratio" in said["recognised"][0]


def test_lists_are_published_from_plays_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_synthetic_home(
        tmp_path / "home", monkeypatch, SETTINGS, users=40, videos=60, plays=3000, days=12
    )
    for name in SIDE:
        (settings.data.raw_dir / name).unlink()
    path = settings.data.raw_dir / BIG
    pl.read_csv(path, infer_schema=False).drop("watch_ratio").write_parquet(path.with_suffix(".parquet"))
    path.unlink()
    settings = load_settings()
    ingest(settings)
    build_features(settings)
    apply_definitions(settings)
    train(settings)
    score_and_publish(settings)
    user = int(pl.read_parquet(settings.paths.table("users"))["user_id"][0])
    assert len(user_list(settings, user, 5)) == 5
